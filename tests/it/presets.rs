//! Does each preset turn what its backend really sends into the events that it promises?
//!
//! `presets/NAME.in` is what the backend sends, `NAME.type` its content type, `NAME.out` what the client gets.

use std::{fs, path::Path};

use weir::{
    config,
    route::{From, Policy},
    transcode::{
        framing::{self, EndOfInput, Opening},
        output::OUTPUTS,
        transcoder::{Transcoder, Turn},
    },
};

/// The policy of a route that says nothing but the preset's name.
fn policy(preset: &str) -> Policy {
    let text = format!(
        "[[listener]]\naddress = '[::1]:0'\n[upstream.a]\nendpoints = ['unix:/a']\n\
         [[route]]\nname = 'r'\nupstream = 'a'\npreset = '{preset}'\n"
    );
    let loaded = config::parse(&text, Path::new("proxy.toml"));
    let loaded = loaded.unwrap_or_else(|faults| panic!("{faults}"));
    loaded.config.routes[0].policy.clone()
}

/// What the client gets of chunks of these lengths, over and over.
fn turn(policy: &Policy, content_type: &str, input: &[u8], chunk_bytes: usize) -> String {
    let media_type = content_type.split(';').next().unwrap();
    let from = match policy.from {
        From::Framing(framing) if media_type != "text/event-stream" => framing,
        From::Framing(_) | From::Auto => framing::by_content_type(media_type).unwrap(),
    };
    let turn = Turn {
        from,
        opening: Opening {
            record_bytes_max: 1 << 20,
            content_type,
        },
        charset: None,
        to: OUTPUTS[0],
    };
    let mut transcoder = Transcoder::new(&turn, &policy.event);
    let mut out = Vec::new();
    for mut chunk in input.chunks(chunk_bytes) {
        transcoder.push(&mut chunk, &mut out, usize::MAX).unwrap();
    }
    if !transcoder.is_complete() {
        transcoder.finish(EndOfInput::Verified, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn each_backend_is_understood_however_it_is_cut() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut presets = 0;
    for entry in fs::read_dir(root.join("src/config/presets")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let name = file.strip_suffix(".toml").unwrap();
        let fixture = root.join("tests/it/presets").join(name);
        let input = fs::read(fixture.with_extension("in")).unwrap();
        let expected = fs::read_to_string(fixture.with_extension("out")).unwrap();
        let content_type = fs::read_to_string(fixture.with_extension("type")).unwrap();
        let policy = policy(name);
        for chunk_bytes in [usize::MAX, 1, 7, 64] {
            let out = turn(&policy, content_type.trim_end(), &input, chunk_bytes);
            assert_eq!(out, expected, "{name} in chunks of {chunk_bytes}");
        }
        presets += 1;
    }
    assert!(presets >= 13, "every preset has a fixture");
}
