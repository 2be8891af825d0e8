//! What does a file say that anybody may know who may know the configuration?

use serde_json::Value;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    keys::FILE,
    presets::expand,
    schema::{Key, Kind, Schema},
};

/// What stands in the place of a secret.
const REMOVED: &str = "(removed)";

/// What a value is to its section.
#[derive(Clone, Copy)]
enum Holds {
    /// Keys of their own.
    Keys(&'static Schema),
    /// Names, and under each of them such keys.
    Names(&'static Schema),
    /// Nothing that must stay secret.
    Anything,
    /// A secret, or several.
    Secrets,
}

impl Holds {
    fn of(key: &Key) -> Self {
        match (key.section(), &key.kind) {
            _ if key.is_secret => Self::Secrets,
            (Some(schema), Kind::Named(_)) => Self::Names(schema),
            (Some(schema), _) => Self::Keys(schema),
            (None, _) => Self::Anything,
        }
    }

    fn under(self, name: &str) -> Self {
        match self {
            Self::Keys(schema) => schema.key(name).map_or(Self::Anything, Self::of),
            Self::Names(schema) => Self::Keys(schema),
            Self::Anything | Self::Secrets => self,
        }
    }
}

/// The file as JSON, with its presets written out, and without its secrets and comments.
pub(super) fn without_secrets(text: &str) -> Value {
    let expanded = expand(text).unwrap_or_default();
    let tree = DeTable::parse(&expanded).map(Spanned::into_inner);
    tree.map_or(Value::Null, |tree| table(&tree, Holds::Keys(&FILE)))
}

fn table(table: &DeTable<'_>, holds: Holds) -> Value {
    let entries = table.iter().map(|(name, value)| {
        let name = name.get_ref().to_string();
        let shown = shown(value.get_ref(), holds.under(&name));
        (name, shown)
    });
    Value::Object(entries.collect())
}

/// The value; where it is secret, only how many there are stays.
fn shown(value: &DeValue<'_>, holds: Holds) -> Value {
    match value {
        DeValue::Table(entries) => table(entries, holds),
        DeValue::Array(values) => {
            let values = values.iter();
            values.map(|value| shown(value.get_ref(), holds)).collect()
        }
        _ if matches!(holds, Holds::Secrets) => REMOVED.into(),
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(integer) => {
            let number = i64::from_str_radix(integer.as_str(), integer.radix());
            number.map_or_else(|_| integer.as_str().into(), Value::from)
        }
        DeValue::Float(float) => {
            let number = float.as_str().parse::<f64>();
            number.map_or_else(|_| float.as_str().into(), Value::from)
        }
        DeValue::Boolean(is_true) => Value::from(*is_true),
        DeValue::Datetime(time) => time.to_string().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::without_secrets;

    #[test]
    fn secrets_are_gone_and_the_rest_stays() {
        let shown = without_secrets(
            "# token = 'commented-out-secret'\n\
             [admin]\naddress = '127.0.0.1:1'\ntoken = 'the-very-secret-token'\n\
             [[listener]]\naddress = '[::1]:0'\ntls = { certificate = 'c.pem', key = 'k.pem' }\n\
             [upstream.a]\nendpoints = ['unix:/a']\nwebsocket = { send = ['a-secret-key'] }\n\
             [[route]]\nname = 'r'\nupstream = 'a'\npreset = 'ollama'\n\
             headers = { x-key = 'a-secret-value' }\n",
        );
        assert!(!shown.to_string().contains("secret"), "{shown}");
        assert_eq!(shown["admin"]["token"], "(removed)");
        assert_eq!(
            shown["upstream"]["a"]["websocket"]["send"],
            json!(["(removed)"])
        );
        assert_eq!(shown["listener"][0]["tls"]["key"], "k.pem");
        let route = &shown["route"][0];
        assert_eq!(route["headers"], json!({ "x-key": "(removed)" }));
        assert_eq!(route["from"], "ndjson", "presets are written out");
        assert_eq!(route["end"]["when"]["equals"], true);
    }
}
