//! The example `scrub-lines`, run as people run it: with pipes.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The example beside this binary's folder: `cargo test` builds it, `cargo test --test it` alone does not.
fn filter() -> Command {
    let this: PathBuf = std::env::current_exe().unwrap();
    let profile = this.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples").join(format!("scrub-lines{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "scrub-lines", "--target-dir"]).arg(profile.parent().unwrap());
        build.args(if cfg!(debug_assertions) { &[][..] } else { &["--release"] });
        assert!(
            build.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap().success(),
            "the example does not build"
        );
    }
    Command::new(path)
}

#[test]
fn a_filter_goes_on_after_bytes_that_are_not_text() {
    let mut child = filter().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"caf\xe9 password=hunter2\r\n\xff\xfe\n\nlast token=x9").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "caf\u{fffd} password=[redacted:key]\r\n\u{fffd}\u{fffd}\n\nlast token=[redacted:key]"
    );
}

#[test]
fn a_filter_ends_quietly_when_its_reader_is_gone() {
    let mut child = filter().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    // It may be gone before it has read all of this.
    drop(input.write_all(&b"all is well\n".repeat(100_000)));
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
