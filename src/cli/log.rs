//! Where the engine's log lines go: text for a terminal, JSON lines for programs, and for `dev` a channel to
//! whoever shows them in words.

use super::error::CliError;
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io::IsTerminal;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Text on a terminal, JSON otherwise
    Auto,
    /// Text
    Text,
    /// One JSON object a line
    Json,
}

/// What is logged unless `PUNCTUAL_LOG` says otherwise.
///
/// The database tells about its files at the level at which we tell about runs.
const USUAL: &str = "info,fjall=warn,lsm_tree=warn";

fn filter() -> Result<EnvFilter, CliError> {
    match std::env::var("PUNCTUAL_LOG") {
        Ok(text) => EnvFilter::try_new(&text)
            .map_err(|error| CliError::usage(format_args!("PUNCTUAL_LOG={text:?}: {error}"))),
        Err(_) => Ok(EnvFilter::new(USUAL)),
    }
}

/// Log lines to standard error from here on.
pub(crate) fn to_stderr(format: Format) -> Result<(), CliError> {
    let terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(terminal);
    let registry = tracing_subscriber::registry().with(filter()?);
    match format {
        Format::Text => registry.with(lines).init(),
        Format::Auto if terminal => registry.with(lines).init(),
        Format::Auto | Format::Json => registry.with(lines.json().flatten_event(true)).init(),
    }
    Ok(())
}

/// A log line as data: its message, and its fields over those of its spans.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) level: Level,
    pub(crate) message: String,
    fields: BTreeMap<&'static str, String>,
}

impl Told {
    /// A field; empty if there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Log lines as data from here on.
pub(crate) fn to_channel() -> Result<UnboundedReceiver<Told>, CliError> {
    // Unbounded: the reader only prints, and a person's terminal sees a few lines a second.
    let (sender, receiver) = unbounded_channel();
    tracing_subscriber::registry().with(filter()?).with(Channel(sender)).init();
    Ok(receiver)
}

struct Channel(UnboundedSender<Told>);

#[derive(Default)]
struct Fields {
    message: String,
    fields: BTreeMap<&'static str, String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => drop(self.fields.insert(name, value)),
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Channel {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut told = Fields::default();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<Fields>() {
                for (name, value) in &fields.fields {
                    told.fields.entry(name).or_insert_with(|| value.clone());
                }
            }
        }
        event.record(&mut told);
        let Fields { message, fields } = told;
        // Nobody listens any more only while the process ends.
        let _ = self.0.send(Told { level: *event.metadata().level(), message, fields });
    }
}
