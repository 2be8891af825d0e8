//! What does a known backend need?
//!
//! A preset is a few keys of a `[[route]]`, written as in the file, that count where the route says
//! nothing itself. Nothing else happens: `weir check --expand` writes them out.

use toml::{Spanned, de::DeTable};
use toml_edit::{ArrayOfTables, DocumentMut, Item, TableLike, TomlError};

/// Every preset, read.
#[derive(Debug)]
pub(crate) struct Presets(Vec<Preset>);

#[derive(Debug)]
struct Preset {
    name: &'static str,
    table: Spanned<DeTable<'static>>,
}

impl Presets {
    /// Reads them all.
    pub(crate) fn new() -> Self {
        let read = |&(name, text): &(&'static str, &'static str)| {
            let table = DeTable::parse(text).expect("the tests read every preset");
            Preset { name, table }
        };
        Self(PRESETS.iter().map(read).collect())
    }

    /// The keys of the preset of that name.
    pub(crate) fn get(&self, name: &str) -> Option<&DeTable<'static>> {
        let preset = self.0.iter().find(|preset| preset.name == name);
        preset.map(|preset| preset.table.get_ref())
    }

    /// Their names, in the order of the documentation.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|preset| preset.name).collect()
    }
}

macro_rules! presets {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("presets/", $name, ".toml")))),*]
    };
}

/// Writes the presets of the configuration `text` out: each `preset` gives way to the keys that it stands
/// for and that its route does not have.
///
/// # Errors
/// The text is no TOML.
pub fn expand(text: &str) -> Result<String, TomlError> {
    let mut file: DocumentMut = text.parse()?;
    let routes = file.get_mut("route").and_then(Item::as_array_of_tables_mut);
    for route in routes.into_iter().flat_map(ArrayOfTables::iter_mut) {
        let name = route.get("preset").and_then(Item::as_str);
        let preset = PRESETS.iter().find(|(other, _)| Some(*other) == name);
        let Some((_, keys)) = preset else { continue };
        let mut keys: DocumentMut = keys.parse()?;
        // Where a table stands in its own text would decide where it is written in this one.
        for (_, item) in keys.iter_mut() {
            if let Some(table) = item.as_table_mut() {
                table.set_position(route.position());
            }
        }
        route.remove("preset");
        fill(route, keys.as_table());
    }
    Ok(file.to_string())
}

/// Gives `table` the keys of `preset` that it does not have.
fn fill(table: &mut dyn TableLike, preset: &dyn TableLike) {
    for (name, value) in preset.iter() {
        match table.get_mut(name) {
            None => {
                table.insert(name, value.clone());
            }
            Some(own) => {
                if let (Some(own), Some(preset)) = (own.as_table_like_mut(), value.as_table_like())
                    && matches!(name, "event" | "end")
                {
                    fill(own, preset);
                }
            }
        }
    }
}

/// Their names and texts.
const PRESETS: &[(&str, &str)] = presets![
    "ollama",
    "openai",
    "anthropic",
    "cohere",
    "gemini",
    "bedrock",
    "kubernetes-watch",
    "couchdb-changes",
    "docker-events",
    "docker-logs",
    "nomad-events",
    "etcd-watch",
    "mesos",
    "neo4j",
    "x-stream",
    "graphql-multipart",
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{PRESETS, Presets, expand};
    use crate::config::parse;

    fn file(route: &str) -> String {
        format!(
            "[[listener]]\naddress = '[::1]:0'\n[upstream.a]\nendpoints = ['unix:/a']\n\
             [[route]]\nname = 'r' # mine\nupstream = 'a'\n{route}"
        )
    }

    /// What a route's policy is, whatever way it was written.
    fn policy(text: &str) -> String {
        let loaded = parse(text, Path::new("proxy.toml"))
            .unwrap_or_else(|faults| panic!("{faults}\n{text}"));
        format!("{:?}", loaded.config.routes[0].policy)
    }

    #[test]
    fn each_preset_is_its_expansion_and_nothing_else() {
        assert_eq!(Presets::new().names().len(), PRESETS.len());
        for (name, _) in PRESETS {
            for own in [
                "",
                "[route.event]\nname = 'own'\n[route.end.event]\ndata = 'over'\n",
                "end = {}\n",
            ] {
                let text = file(&format!("preset = '{name}'\n{own}"));
                let expanded = expand(&text).unwrap();
                assert!(!expanded.contains("preset"), "{expanded}");
                assert!(expanded.contains("# mine"), "comments stay: {expanded}");
                assert_eq!(policy(&expanded), policy(&text), "{expanded}");
            }
        }
    }

    #[test]
    fn what_the_route_says_counts() {
        let text = file("preset = 'ollama'\nfrom = 'lines'\nend = { event = { data = 'bye' } }\n");
        let expanded = expand(&text).unwrap();
        assert!(expanded.contains("from = 'lines'") && !expanded.contains("ndjson"));
        assert!(expanded.contains("data = 'bye'") && !expanded.contains("[DONE]"));
        assert!(expanded.contains("equals = true"));
    }
}
