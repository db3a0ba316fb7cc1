//! Weighs the facade: CPU seconds of a clean build, crates and binary bytes of a hello world without it, with it, with each feature.
//!
//! `cargo run --release -p steeple-benches --bin weight [-- [--results] FEATURE…]`. A release build each, from clean, in a directory of its
//! own, with the versions of the workspace's lock file and all cores. Minutes. What is downloaded already is not
//! downloaded again. "Crates" are those that `cargo tree` names for this machine, build and procedural macros included.
#![expect(clippy::print_stderr, reason = "a program that measures and prints")]

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use steeple_benches::{
    output::{Part, arguments, number, signed},
    targets::is_of_vendor,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let place = Place::new()?;
    let mut part = Part::new("weight");
    part.head(&["hello world with Axum", "CPU seconds from clean", "over", "crates", "over", "binary, kB", "over"]);
    let plain = place.weigh(None)?;
    add(&mut part, "without Steeple", &plain, &plain);
    let default = place.weigh(Some(""))?;
    add(&mut part, "`steeple`", &default, &plain);
    part.figure("default", "seconds", default.seconds);
    part.figure("default", "crates", f64::from(u32::try_from(default.names.len())?));
    let vendors = default.names.iter().filter(|name| is_of_vendor(name)).count();
    part.figure("default", "vendors", f64::from(u32::try_from(vendors)?));
    let wanted = arguments();
    for feature in features()?.into_iter().filter(|feature| wanted.is_empty() || wanted.contains(feature)) {
        eprintln!("{feature}");
        add(&mut part, &format!("… and `{feature}`"), &place.weigh(Some(&feature))?, &default);
    }
    part.line("");
    part.line(
        "\"Over\" of `steeple` is over the hello world without it, of a feature over `steeple` with its default features. \
         Release builds; the binary is stripped.",
    );
    part.finish()?;
    fs::remove_dir_all(&place.0)?;
    Ok(())
}

fn add(part: &mut Part, name: &str, weight: &Weight, base: &Weight) {
    let crates = |weight: &Weight| f64::from(u32::try_from(weight.names.len()).unwrap_or(u32::MAX));
    part.row(&[
        name.to_owned(),
        number(weight.seconds, 0),
        signed(weight.seconds - base.seconds, 0),
        number(crates(weight), 0),
        signed(crates(weight) - crates(base), 0),
        number(weight.kilobytes, 0),
        signed(weight.kilobytes - base.kilobytes, 0),
    ]);
}

/// The facade's features beside the default ones.
fn features() -> io::Result<Vec<String>> {
    let manifest = fs::read_to_string(workspace().join("crates/steeple/Cargo.toml"))?;
    let features = manifest.split("[features]").nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default();
    let names = || features.lines().filter_map(|line| line.split_once(" = ["));
    let default = names().find(|(name, _)| *name == "default").map_or("", |(_, list)| list);
    let further = names().map(|(name, _)| name).filter(|name| *name != "default");
    Ok(further.filter(|name| !default.contains(&format!("\"{name}\""))).map(str::to_owned).collect())
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

struct Weight {
    seconds: f64,
    kilobytes: f64,
    names: BTreeSet<String>,
}

/// Where the hello world lies and is built.
struct Place(PathBuf);

impl Place {
    fn new() -> io::Result<Self> {
        let place = std::env::temp_dir().join(format!("steeple-weight-{}", std::process::id()));
        fs::create_dir_all(place.join("src"))?;
        Ok(Self(place))
    }

    /// Weighs without the facade, or with it and a feature.
    fn weigh(&self, feature: Option<&str>) -> Result<Weight, Box<dyn std::error::Error>> {
        let facade = feature.map_or_else(String::new, |feature| {
            let path = workspace().join("crates/steeple");
            let features = if feature.is_empty() { String::new() } else { format!("\"{feature}\"") };
            format!("steeple = {{ path = \"{}\", features = [{features}] }}\n", path.display())
        });
        let manifest = format!(
            "[package]\nname = \"hello\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n[dependencies]\naxum = \"0.8\"\n\
             tokio = {{ version = \"1\", features = [\"macros\", \"net\", \"rt-multi-thread\"] }}\n{facade}[profile.release]\n\
             strip = true\n"
        );
        fs::write(self.0.join("Cargo.toml"), manifest)?;
        fs::write(self.0.join("src/main.rs"), if feature.is_some() { WITH } else { WITHOUT })?;
        fs::copy(workspace().join("Cargo.lock"), self.0.join("Cargo.lock"))?;
        let target = self.0.join("target");
        if target.exists() {
            fs::remove_dir_all(&target)?;
        }
        let tree = self.cargo(&["tree", "--prefix", "none", "--edges", "normal,build", "--format", "{p}"])?;
        // A crate that comes twice in one version counts once.
        let crates = tree.lines().map(|line| line.trim_end_matches(" (*)").replace(" (proc-macro)", ""));
        let names = crates.filter(|name| !name.starts_with("hello ") && !name.is_empty()).collect();
        let before = children_seconds()?;
        self.cargo(&["build", "--release", "--quiet"])?;
        let seconds = children_seconds()? - before;
        let bytes = fs::metadata(target.join("release/hello"))?.len();
        Ok(Weight { seconds, kilobytes: f64::from(u32::try_from(bytes / 1_000)?), names })
    }

    fn cargo(&self, arguments: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
        let output = Command::new("cargo")
            .args(arguments)
            .arg("--offline")
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .env("CARGO_INCREMENTAL", "0")
            .output()?;
        if !output.status.success() {
            return Err(format!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)).into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// The processor time of all children that have ended, theirs included: what a machine's other work changes least.
///
/// # Source
/// proc(5), `/proc/pid/stat`, fields 16 and 17, a hundredth of a second each.
fn children_seconds() -> Result<f64, Box<dyn std::error::Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The second field is the program's name, which may hold anything.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(13).take(2);
    let ticks = fields.map(str::parse::<u32>).sum::<Result<u32, _>>()?;
    Ok(f64::from(ticks) / 100.0)
}

const WITHOUT: &str = r#"
use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    axum::serve(listener, Router::new().route("/", get(|| async { "hello" }))).await?;
    Ok(())
}
"#;

const WITH: &str = r#"
use axum::{Router, routing::get};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steeple = steeple::Steeple::from_env()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    let app = Router::new().route("/", get(|| async { "hello" })).merge(steeple.routes()).layer(steeple.layer());
    steeple.serve(listener, app).await?;
    Ok(())
}
"#;
