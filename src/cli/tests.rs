//! Does a command line mean what it says, and end with the right exit code?

use std::{ffi::OsString, fs, path::PathBuf};

use super::{CheckArgs, Cli, Command, Exit, check, probe};

/// Checks what a command line means, as the debug form of its command, or the exit code it ends with.
fn check_line(line: &str, expected: Result<&str, Exit>) {
    let args = line.split(' ').map(OsString::from);
    let command = Cli::read(args).map(|cli| format!("{:?}", cli.command()));
    assert_eq!(command.as_deref().map_err(|exit| *exit), expected, "{line}");
}

#[test]
fn command_lines() {
    let run = r#"Run(RunArgs { config: "proxy.toml" })"#;
    check_line("weir", Ok(run));
    check_line("weir --log debug", Ok(run));
    check_line("weir --log-format json run --log weir=trace", Ok(run));
    check_line("weir run", Ok(run));
    check_line(
        "weir --config a.toml",
        Ok(r#"Run(RunArgs { config: "a.toml" })"#),
    );
    check_line(
        "weir run --config a.toml",
        Ok(r#"Run(RunArgs { config: "a.toml" })"#),
    );
    check_line(
        "weir check",
        Ok(r#"Check(CheckArgs { file: "proxy.toml", expand: false })"#),
    );
    check_line(
        "weir check a.toml",
        Ok(r#"Check(CheckArgs { file: "a.toml", expand: false })"#),
    );
    check_line(
        "weir demo",
        Ok("Demo(DemoArgs { address: 127.0.0.1:8080 })"),
    );
    check_line(
        "weir demo --address [::1]:0",
        Ok("Demo(DemoArgs { address: [::1]:0 })"),
    );
    check_line(
        "weir convert --from ndjson --to json-seq --config a --route b",
        Ok(
            r#"Convert(ConvertArgs { from: Some(ndjson), to: Some(json-seq), content_type: "", config: Some("a"), route: Some("b") })"#,
        ),
    );
    for help in [
        "weir --help",
        "weir -h",
        "weir --version",
        "weir help",
        "weir convert --help",
    ] {
        check_line(help, Err(Exit::Ok));
    }
    for wrong in [
        "weir walk",
        "weir --walk",
        "weir run a.toml",
        "weir --config a.toml check",
        "weir check a b",
        "weir convert --from ndjsn",
        "weir convert --from ndjson --to xml",
        "weir convert --from ndjson --config a",
        "weir convert --from ndjson --route b",
        "weir demo --address 8080",
        "weir --log-format xml",
    ] {
        check_line(wrong, Err(Exit::Usage));
    }
}

#[test]
fn command_lines_of_probe() {
    check_line(
        "weir probe http://a/b --silence 2m --header a:b",
        Ok(
            r#"Probe(ProbeArgs { url: Some(http://a/b), serve: false, address: 127.0.0.1:0, json: false, silence: 120s, fields: [("a", "b")], ca: None })"#,
        ),
    );
    check_line(
        "weir probe --serve --address [::1]:9",
        Ok(
            "Probe(ProbeArgs { url: None, serve: true, address: [::1]:9, json: false, silence: 65s, fields: [], ca: None })",
        ),
    );
    for wrong in [
        "weir probe",
        "weir probe --serve http://a/",
        "weir probe http://a/ --silence 0s",
        "weir probe http://a/ --silence 2h",
        "weir probe http://a/ --header a",
    ] {
        check_line(wrong, Err(Exit::Usage));
    }
}

#[test]
fn clap_finds_the_definition_sound() {
    <Cli as clap::CommandFactory>::command().debug_assert();
}

#[test]
fn what_cannot_be_probed_ends_with_its_exit_code() {
    for (line, expected, says) in [
        (
            "weir probe ftp://a/",
            Exit::Usage,
            "must begin with http://",
        ),
        ("weir probe /a", Exit::Usage, "must begin with http://"),
        (
            "weir probe https://a/ --ca /nowhere.pem",
            Exit::Failure,
            "/nowhere.pem",
        ),
    ] {
        let cli = Cli::read(line.split(' ').map(OsString::from)).unwrap();
        let Command::Probe(args) = cli.command() else {
            panic!("{line}");
        };
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        assert_eq!(probe::run(&args, &mut output, &mut errors), expected);
        let errors = String::from_utf8(errors).unwrap();
        assert!(errors.contains(says) && output.is_empty(), "{errors}");
    }
}

/// A file in a directory of its own, which goes when the first part is dropped.
fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("proxy.toml");
    fs::write(&path, text).unwrap();
    (directory, path)
}

/// Checks the exit code, the output and the errors of `weir check`; `FILE` is the file's path.
fn check_file(text: &str, expected: (Exit, &str, &str)) {
    let (_directory, path) = file(text);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let args = CheckArgs {
        file: path.clone(),
        expand: false,
    };
    let exit = check::run(&args, &mut output, &mut errors);
    let name = path.display().to_string();
    let text_of = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(&name, "FILE");
    let actual = (exit, text_of(output), text_of(errors));
    assert_eq!(
        (actual.0, actual.1.as_str(), actual.2.as_str()),
        expected,
        "{text}"
    );
}

const GOOD: &str = "[[listener]]\naddress = '[::1]:0'\n[upstream.a]\nendpoints = ['unix:/a']\n[[route]]\nname = 'r'\nupstream = 'a'\n";

#[test]
fn checks_a_file() {
    check_file(
        GOOD,
        (Exit::Ok, "FILE: ok (1 listener, 1 upstream, 1 route)\n", ""),
    );
    let doubtful = format!("{GOOD}[upstream.b]\nendpoints = ['unix:/b']\n");
    let warning = "FILE:8: warning: upstream \"b\": no route uses it; take it out, or name it in a route's upstream\n";
    check_file(
        &doubtful,
        (
            Exit::Ok,
            "FILE: ok (1 listener, 2 upstreams, 1 route)\n",
            warning,
        ),
    );
    let wrong = format!("{GOOD}to = 1\nfrom = 2\n");
    let faults = "FILE:8: route \"r\": to is 1; it must be \"auto\", \"sse\", \"ndjson\", \"json-seq\" or \"as-is\"\n\
                  FILE:9: route \"r\": from is 2; it must be \"auto\" or the name of a framing\n";
    check_file(&wrong, (Exit::Config, "", faults));
}

#[test]
fn check_writes_presets_out() {
    let (_directory, path) = file(&format!("{GOOD}preset = 'ollama' # whose chat\n"));
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let args = CheckArgs {
        file: path.clone(),
        expand: true,
    };
    assert_eq!(check::run(&args, &mut output, &mut errors), Exit::Ok);
    let expanded = String::from_utf8(output).unwrap();
    assert!(expanded.starts_with(GOOD), "{expanded}");
    assert!(expanded.contains("from = \"ndjson\"\n") && !expanded.contains("preset"));
    assert!(expanded.contains("[route.end]\nwhen = { at = \"/done\", equals = true }\n"));
    assert_eq!(errors, b"");
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault() {
    let (directory, path) = file("");
    fs::write(&path, b"a = 1\n\xff\n").unwrap();
    for (file, expected) in [
        (path, ":2: the text is not UTF-8 from this line on\n"),
        (
            directory.path().join("none.toml"),
            ": the file cannot be read (No such file or directory (os error 2)); name another with --config, or run `weir demo`, which needs none\n",
        ),
    ] {
        let mut errors = Vec::new();
        let args = CheckArgs {
            file: file.clone(),
            expand: false,
        };
        assert_eq!(
            check::run(&args, &mut Vec::new(), &mut errors),
            Exit::Config
        );
        let errors = String::from_utf8(errors).unwrap();
        assert_eq!(errors, format!("{}{expected}", file.display()));
    }
}

#[test]
fn convert_takes_a_route() {
    let (_directory, path) = file(&format!("{GOOD}limits = {{ record = '2KiB' }}\n"));
    for (route, expected) in [("r", Ok(2048)), ("s", Err(Exit::Usage))] {
        let line = format!(
            "weir convert --from lines --config {} --route {route}",
            path.display()
        );
        let cli = Cli::read(line.split(' ').map(OsString::from)).unwrap();
        let Command::Convert(args) = cli.command() else {
            panic!("{line}");
        };
        let mut errors = Vec::new();
        let record_bytes_max = args
            .conversion(&mut errors)
            .map(|found| found.record_bytes_max);
        assert_eq!(record_bytes_max, expected);
        assert_eq!(errors.is_empty(), expected.is_ok());
    }
}
