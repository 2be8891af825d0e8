//! How does `[admin]` become settings?

use std::{fs, path::Path};

use toml::de::DeValue;

use super::{address, section::Section};
use crate::admin::{Settings, Token};

/// Reads `[admin]`; `None` where there is none, or no address in it.
pub(super) fn read(file: &Section<'_>, directory: &Path) -> Option<Settings> {
    let admin = file.section("admin");
    let parse = |text: &str| Token::new(text).map_err(|fault| fault.to_string());
    let token = admin.text("token", parse);
    let in_file = admin.text("token_file", |text| {
        let token = fs::read_to_string(directory.join(text));
        let token = token
            .map_err(|error| format!("it cannot be read ({error}); it must hold {ALLOWED}"))?;
        Token::new(token.trim()).map_err(|fault| format!("it holds no token: {fault}"))
    });
    let has_taps = admin.parsed("tap", is_on);
    Some(Settings {
        address: admin.text("address", address::listener)?,
        token: in_file.or(token),
        has_taps: has_taps.unwrap_or_default(),
    })
}

/// What a token is made of.
const ALLOWED: &str = "from 16 to 512 visible ASCII characters";

fn is_on(value: &DeValue<'_>) -> Option<bool> {
    value.as_bool()
}
