//! Which configuration is at work?

use serde_json::{Value, json};

use super::Served;

/// `GET /config`: what the file says with presets written out and secrets taken out.
pub(super) fn document(served: &Served) -> Value {
    let loaded_at = humantime::format_rfc3339_seconds(served.loaded_at);
    json!({
        "generation": served.generation,
        "file": served.file,
        "loaded_at": loaded_at.to_string(),
        "config": served.config,
    })
}
