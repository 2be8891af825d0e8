//! Do the dashboard and the alerts ask for what there is?

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::{Weir, backend::Backend, client::Client};

const DASHBOARD: &str = include_str!("../../deploy/grafana/weir.json");
const ALERTS: &str = include_str!("../../deploy/prometheus/alerts.yaml");

/// The names of all samples that there can be.
async fn samples() -> BTreeSet<String> {
    let backend = Backend::bind().await;
    let weir = Weir::start(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [upstream.a]\nendpoints = [\"{}\"]\n[[route]]\nname = \"r\"\nupstream = \"a\"\n",
        backend.endpoint()
    ));
    let address = weir.admin.as_ref().unwrap();
    let mut client = Client::get(address, "/metrics", "Connection: close\r\n").await;
    client.head().await;
    let text = client.rest().await;
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let suffixes = |kind: &str| match kind {
        "counter" => &["_total"][..],
        "histogram" => &["_bucket", "_sum", "_count"],
        "info" => &["_info"],
        _ => &[""],
    };
    types
        .filter_map(|line| line.split_once(' '))
        .flat_map(|(name, kind)| suffixes(kind).iter().map(move |end| format!("{name}{end}")))
        .collect()
}

/// The metrics of ours that a text asks for.
fn asked(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("weir_") || word.starts_with("process_"))
        .collect()
}

fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("JSON")
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    let list = of[name].as_array();
    list.unwrap_or_else(|| panic!("{name} is no list in {of}"))
}

#[tokio::test]
async fn each_metric_that_is_asked_for_exists() {
    let samples = samples().await;
    for (file, text, least) in [("dashboard", DASHBOARD, 30), ("alerts", ALERTS, 10)] {
        let asked = asked(text);
        assert!(asked.len() >= least, "{file}: only {asked:?}");
        for name in asked {
            assert!(samples.contains(name), "{file}: there is no {name}");
        }
    }
}

#[test]
fn the_dashboard_has_the_shape_that_grafana_imports() {
    let dashboard = dashboard();
    assert_eq!(dashboard["uid"], "weir");
    // That of Grafana 10.4; later ones bring it up to their own.
    assert_eq!(dashboard["schemaVersion"], 39);
    let variables = list(&dashboard["templating"], "list");
    let is_source = |variable: &&Value| variable["type"] == "datasource";
    let source = variables.iter().find(is_source).expect("a data source");
    assert_eq!(
        (&source["name"], &source["query"]),
        (&"datasource".into(), &"prometheus".into())
    );
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in list(&dashboard, "panels") {
        let title = &panel["title"];
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |side: &str| panel["gridPos"][side].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title}");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{title} lies upon another panel");
            }
        }
        if panel["type"] == "row" {
            assert_eq!(list(panel, "panels"), [] as [Value; 0]);
            continue;
        }
        let mut names = BTreeSet::new();
        for target in list(panel, "targets") {
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
            assert!(names.insert(target["refId"].as_str().unwrap()), "{title}");
            let expression = target["expr"].as_str().unwrap();
            assert!(!asked(expression).is_empty(), "{title}: {expression}");
            check_variables(expression, variables);
        }
        assert!(!names.is_empty(), "{title} shows nothing");
    }
}

/// Each `$name` is a variable of the dashboard or of Grafana itself.
fn check_variables(expression: &str, variables: &[Value]) {
    for rest in expression.split('$').skip(1) {
        let name = rest
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .next()
            .unwrap();
        let is_known = variables.iter().any(|variable| variable["name"] == name);
        assert!(
            is_known || name == "__rate_interval",
            "${name} in {expression}"
        );
    }
}
