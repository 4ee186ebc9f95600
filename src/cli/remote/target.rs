//! Which daemon, or which data directory, a command is about.

use super::client::{Client, Place};
use crate::cli::error::CliError;
use clap::Args;
use punctual_server::{SOCKET, Token};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Target {
    /// The data directory; a daemon at work on it is asked through its socket [env: PUNCTUAL_DATA]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The daemon: unix:PATH or http://127.0.0.1:PORT [env: PUNCTUAL_SERVER]
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// A file with the token for http [env: PUNCTUAL_TOKEN holds the token itself; default: DIR/admin-token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// An environment variable that says something.
fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Target {
    /// The data directory that was named, by option or environment; not if a daemon was named more closely.
    pub(crate) fn data(&self) -> Option<PathBuf> {
        self.data.clone().or_else(|| env("PUNCTUAL_DATA").map(Into::into))
    }

    /// The daemon, if one was named as such.
    fn named(&self) -> Option<String> {
        match (&self.server, &self.data) {
            (Some(server), _) => Some(server.clone()),
            // What stands on the command line counts more than the environment.
            (None, Some(_)) => None,
            (None, None) => env("PUNCTUAL_SERVER"),
        }
    }

    /// The daemon to ask.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        let (server, data) = (self.named(), self.data());
        let place = match (&server, &data) {
            (Some(url), _) => place(url)?,
            (None, Some(data)) => Place::Unix(data.join(SOCKET)),
            (None, None) => {
                return Err(CliError::usage(
                    "which daemon? Say --data DIR or --server URL, or set PUNCTUAL_DATA or PUNCTUAL_SERVER",
                ));
            }
        };
        let token = match place {
            Place::Unix(_) => None,
            Place::Http(_) => self.token(data.as_deref())?,
        };
        Ok(Client::new(place, token))
    }

    /// The daemon at work on the data directory, if one answers. None means that the directory can be looked into.
    pub(crate) async fn client_if_any(&self) -> Result<Option<Client>, CliError> {
        let client = self.client()?;
        Ok(if self.named().is_some() || client.answers().await { Some(client) } else { None })
    }

    fn token(&self, data: Option<&Path>) -> Result<Option<String>, CliError> {
        let read = |path: &Path| match std::fs::read_to_string(path) {
            Ok(text) => shown(&text, &path.display().to_string()),
            Err(error) => Err(CliError::usage(format_args!("{}: {error}", path.display()))),
        };
        match (&self.token_file, env("PUNCTUAL_TOKEN"), data) {
            (Some(path), _, _) => read(path).map(Some),
            (None, Some(token), _) => shown(&token, "PUNCTUAL_TOKEN").map(Some),
            (None, None, Some(data)) => read(&data.join(Token::FILE)).map(Some),
            (None, None, None) => Ok(None),
        }
    }

    /// What to type after a command to mean the same daemon.
    pub(crate) fn again(&self) -> String {
        let mut text = String::new();
        for (name, value) in
            [("server", self.server.clone()), ("data", self.data.as_ref().map(|d| d.display().to_string()))]
        {
            if let Some(value) = value {
                text.push_str(&format!(" --{name} {}", super::quote::word(&value)));
            }
        }
        text
    }
}

/// The token in this text, without the end of its line; more lines than one cannot be sent, and are told from where
/// they came instead of shown.
fn shown(text: &str, from: &str) -> Result<String, CliError> {
    let token = text.trim();
    if token.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(token.to_owned())
    } else {
        Err(CliError::usage(format_args!("{from}: expected a token: one line of visible ASCII characters")))
    }
}

/// The place that a URL names. There is no TLS yet, and the token goes in the clear, so only this machine is asked.
fn place(url: &str) -> Result<Place, CliError> {
    if let Some(path) = url.strip_prefix("unix:") {
        // unix:///run/p.sock and unix:/run/p.sock and unix:p.sock
        return Ok(Place::Unix(path.strip_prefix("//").unwrap_or(path).into()));
    }
    let wrong = |why: &str| CliError::usage(format_args!("--server {url:?}: {why}"));
    let Some(host) = url.strip_prefix("http://") else {
        return Err(wrong("expected unix:PATH or http://127.0.0.1:PORT"));
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    let host =
        if host.contains(':') && !host.ends_with(']') { host.to_owned() } else { format!("{host}:80") };
    match crate::cli::doors::loopback(&host) {
        Ok(address) => Ok(Place::Http(address)),
        Err(_) => {
            Err(wrong("only addresses of this machine can be asked yet, such as http://127.0.0.1:7878"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_socket_or_an_address_of_this_machine() {
        for (url, path) in [("unix:/a/b", "/a/b"), ("unix:///a/b", "/a/b"), ("unix:b", "b")] {
            assert!(matches!(place(url), Ok(Place::Unix(found)) if found == Path::new(path)), "{url}");
        }
        for (url, address) in [
            ("http://127.0.0.1:7878", "127.0.0.1:7878"),
            ("http://localhost:7878/", "127.0.0.1:7878"),
            ("http://[::1]:1", "[::1]:1"),
            ("http://[::1]", "[::1]:80"),
            ("http://localhost", "127.0.0.1:80"),
        ] {
            assert!(matches!(place(url), Ok(Place::Http(found)) if found.to_string() == address), "{url}");
        }
        for url in [
            "",
            "http://example.com:80",
            "https://127.0.0.1:1",
            "127.0.0.1:1",
            "http://127.0.0.1:1/v1",
            "http://10.0.0.1:1",
        ] {
            assert!(place(url).is_err(), "{url}");
        }
    }
}
