//! The house stands as it is drawn: arrows between rooms go down only, and what tests need stays with tests.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};

/// Each room's floor; a room may use rooms of lower floors only, and itself never.
const FLOORS: [(&str, u8); 9] = [
    // Below the others of the lowest floor in rank: everybody may name a crash point.
    ("punctual-faults", 0),
    ("punctual-model", 0),
    ("punctual-clock", 0),
    ("punctual-store", 1),
    ("punctual-scheduler", 2),
    ("punctual-executor", 2),
    ("punctual-coordinator", 3),
    ("punctual-server", 4),
    ("punctual", 5),
];

fn floor(name: &str) -> Option<u8> {
    FLOORS.iter().find(|(room, _)| *room == name).map(|(_, floor)| *floor)
}

fn metadata() -> Metadata {
    MetadataCommand::new().other_options(vec!["--offline".into()]).exec().unwrap_or_else(|_| {
        // The first build on a machine may still have to fetch the index.
        MetadataCommand::new().exec().expect("cargo metadata")
    })
}

fn normal_dependencies(package: &Package) -> impl Iterator<Item = &cargo_metadata::Dependency> {
    package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development)
}

#[test]
fn arrows_between_rooms_go_down_only() {
    let metadata = metadata();
    let mut rooms = 0;
    for package in metadata.workspace_packages() {
        let from =
            floor(&package.name).unwrap_or_else(|| panic!("{} has no floor in the table", package.name));
        rooms += 1;
        for dependency in normal_dependencies(package) {
            let Some(to) = floor(&dependency.name) else { continue };
            // Floor 0 has two rooms; the clock gives out the model's ids and times.
            let allowed =
                to < from || (package.name == "punctual-clock" && dependency.name == "punctual-model");
            assert!(allowed, "{} (floor {from}) uses {} (floor {to})", package.name, dependency.name);
        }
    }
    assert!(rooms >= 7, "only {rooms} rooms were looked at");
}

#[test]
fn the_model_does_no_io_and_no_async() {
    let metadata = metadata();
    let model = metadata.packages.iter().find(|package| package.name == "punctual-model").expect("the model");
    for dependency in normal_dependencies(model) {
        assert!(
            !["tokio", "async-trait", "tracing", "fjall", "rustix", "futures-util"]
                .contains(&dependency.name.as_str()),
            "the model uses {}",
            dependency.name
        );
    }
}

#[test]
fn mockall_is_never_a_normal_dependency() {
    let metadata = metadata();
    for package in metadata.workspace_packages() {
        for dependency in normal_dependencies(package) {
            assert!(
                dependency.name != "mockall" || dependency.optional,
                "{} always pulls mockall",
                package.name
            );
        }
        let default = package.features.get("default").cloned().unwrap_or_default();
        assert!(
            !default.iter().any(|feature| feature.contains("mock") || feature.contains("testing")),
            "{} turns the test kit on by default",
            package.name
        );
    }
}

#[test]
fn the_library_alone_has_no_dependency_of_the_command_line() {
    let metadata = metadata();
    let root = metadata.packages.iter().find(|package| package.name == "punctual").expect("the facade");
    for dependency in normal_dependencies(root) {
        if ["clap", "toml", "tracing-subscriber", "axum", "hyper", "hyper-util", "punctual-server"]
            .contains(&dependency.name.as_str())
        {
            assert!(dependency.optional, "{} is there without the feature cli", dependency.name);
        }
    }
}
