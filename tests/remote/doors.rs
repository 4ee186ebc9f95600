//! How commands find a daemon, and who is let in.

use crate::place::Place;
use std::os::unix::fs::PermissionsExt;

#[test]
fn the_socket_and_the_token_are_the_owners_alone() {
    let place = Place::new();
    let _daemon = place.serve(&[]);
    for name in ["punctual.sock", "admin-token"] {
        let mode = std::fs::metadata(place.data().join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn tcp_is_opened_when_asked_for_on_this_machine_only_and_with_the_token() {
    let place = Place::new();
    for address in ["0.0.0.0:7878", "[::]:7878", "192.0.2.1:7878"] {
        let refused = place.ask(&["serve", "--listen", address]);
        refused.refuses(2, &["no access control yet", "127.0.0.1:7878"]);
    }
    assert!(!place.data().exists(), "nothing was made");
    let daemon = place.serve(&["--listen", "127.0.0.1:0"]);
    let url = daemon.said.split_whitespace().find(|word| word.starts_with("http://")).expect("a URL");
    let url = url.trim_end_matches(',');
    let token_file = place.data().join("admin-token");
    let token = std::fs::read_to_string(&token_file).expect("a token");
    place.create("job", "true");
    let ask = |vars: &[(&str, &str)], more: &[&str]| -> crate::command::Printed {
        let mut command = place.command(&["task", "list"]);
        command.args(more).envs(vars.iter().copied());
        command.output().expect("run the binary").into()
    };
    ask(&[("PUNCTUAL_SERVER", url)], &[]).refuses(4, &["token"]);
    ask(&[("PUNCTUAL_SERVER", url), ("PUNCTUAL_TOKEN", "wrong")], &[]).refuses(4, &["token"]);
    let (shorter, longer) = (&token.trim()[1..], format!("{}0", token.trim()));
    for wrong in [shorter, longer.as_str()] {
        ask(&[("PUNCTUAL_SERVER", url), ("PUNCTUAL_TOKEN", wrong)], &[]).refuses(4, &["token"]);
    }
    let two_lines = format!("{token}{token}");
    let refused = ask(&[("PUNCTUAL_SERVER", url), ("PUNCTUAL_TOKEN", &two_lines)], &[]);
    refused.refuses(2, &["PUNCTUAL_TOKEN", "one line"]);
    assert!(!refused.err.contains(shorter), "a secret is not shown");
    let data = place.data().display().to_string();
    for listed in [
        ask(&[("PUNCTUAL_SERVER", url), ("PUNCTUAL_TOKEN", token.trim())], &[]),
        // As a script reads it that does not cut the end of the line off.
        ask(&[("PUNCTUAL_SERVER", url), ("PUNCTUAL_TOKEN", &token)], &[]),
        ask(&[("PUNCTUAL_TOKEN", token.trim())], &["--server", url]),
        ask(&[], &["--server", url, "--token-file", &token_file.display().to_string()]),
        ask(&[], &["--server", url, "--data", &data]),
        ask(&[], &["--server", &format!("unix:{data}/punctual.sock")]),
        // What stands on the command line counts more.
        ask(&[("PUNCTUAL_SERVER", "http://127.0.0.1:1")], &["--data", &data]),
    ] {
        assert!(listed.ends(0).contains("job"), "{listed:?}");
    }
    ask(&[], &[]).refuses(2, &["--data DIR", "PUNCTUAL_SERVER"]);
    ask(&[], &["--server", "http://192.0.2.1:80"]).refuses(2, &["this machine"]);
    ask(&[], &["--server", "http://127.0.0.1:1"]).refuses(6, &["no daemon answers"]);
    // The token is the same after a restart.
    daemon.stop();
    let _daemon = place.serve(&[]);
    assert_eq!(std::fs::read_to_string(&token_file).expect("a token"), token);
}

#[test]
fn a_readable_token_file_is_refused_at_the_start() {
    let place = Place::new();
    place.serve(&[]).stop();
    let token = place.data().join("admin-token");
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).expect("chmod");
    place.ask(&["serve"]).refuses(1, &["admin-token", "chmod 600"]);
}
