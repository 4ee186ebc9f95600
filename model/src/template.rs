//! Texts with places in them: `${params.region}` stands for what the run has there.
//!
//! Read when a definition is judged, put together when a request is made. A place says where its value comes from
//! and, if not as usual there, in which form it is put in; whatever the value is, it stays one value: a parameter
//! never adds a line to a header or a step to a path.

use crate::run::Run;
use crate::task::Task;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Largest text that is put together, in bytes: a parameter may be named many times.
pub const MAX_RENDERED: usize = 1 << 20;

/// A text with places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Place(Place),
}

/// `${NAME}`, `${NAME|FORM}`, `${NAME:-DEFAULT}` or `${NAME|FORM:-DEFAULT}`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    form: Option<Form>,
    default: Option<String>,
}

/// How a value is put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A text as it is, everything else as JSON.
    Text,
    /// As JSON, a text with its quotes.
    Json,
    /// As text, every byte but letters, digits and `-._~` as `%XX`.
    Url,
}

/// What a text is for; it decides the usual form and what else is right there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// A URL: values as [`Form::Url`], and only behind the host.
    Url,
    /// The value of a header field: values as [`Form::Text`].
    Header,
    /// A body: values as [`Form::Text`].
    Body,
}

impl Use {
    fn usual(self) -> Form {
        match self {
            Self::Url => Form::Url,
            Self::Header | Self::Body => Form::Text,
        }
    }
}

/// What is wrong with a text or with what it was to be filled with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A `${` without its `}`.
    #[error("a `${{` has no `}}` after it; to write it as it is, double the sign: `$${{`")]
    Open,
    /// A name that stands for nothing.
    #[error(
        "`${{{0}}}` stands for nothing; there are params.NAME, run.id, run.attempt, run.scheduled_for, run.trigger, task.id, task.name, task.type and task.revision"
    )]
    Name(String),
    /// A form that there is not, or not there.
    #[error("{0:?} is no form that a value can have here; there are {1}")]
    Form(String, &'static str),
    /// A place in a URL where it would choose the server.
    #[error("a place in a URL must come after the host, so that no parameter chooses the server")]
    Host,
    /// A parameter that the run does not have.
    #[error("the run has no parameter for `{0}`; give one, or a default: `${{{0}:-DEFAULT}}`")]
    Missing(String),
    /// A path that would lead somewhere else.
    #[error("the URL's path has a step `.` or `..` once its parameters are in it")]
    Dots,
    /// Too much text.
    #[error("with its parameters the text would be larger than 1 MiB")]
    TooLarge,
}

impl Template {
    /// Reads a text.
    ///
    /// # Errors
    /// [`TemplateError`] for a place that could never be filled.
    pub fn parse(text: &str, used: Use) -> Result<Self, TemplateError> {
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find("${") {
            let (before, behind) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                literal.push_str(before);
                literal.push_str("${");
                rest = behind;
                continue;
            }
            literal.push_str(before);
            if used == Use::Url && parts.is_empty() && !leaves_the_host(&literal) {
                return Err(TemplateError::Host);
            }
            let end = behind.find('}').ok_or(TemplateError::Open)?;
            parts.push(Part::Text(std::mem::take(&mut literal)));
            parts.push(Part::Place(Place::parse(&behind[..end], used)?));
            rest = &behind[end + 1..];
        }
        literal.push_str(rest);
        parts.push(Part::Text(literal));
        Ok(Self(parts))
    }

    /// Whether nothing is to be put in.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// Puts in what the run has.
    ///
    /// # Errors
    /// [`TemplateError`] if it lacks a parameter, or for a URL that would lead somewhere else.
    pub fn render(&self, run: &Run, task: &Task, used: Use) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(literal) => text.push_str(literal),
                Part::Place(place) => {
                    let value = place.value(run, task)?;
                    put(&mut text, &value, place.form.unwrap_or(used.usual()));
                }
            }
            if text.len() > MAX_RENDERED {
                return Err(TemplateError::TooLarge);
            }
        }
        if used == Use::Url && !self.is_plain() {
            let path = text.split(['?', '#']).next().unwrap_or_default();
            if path.split('/').any(|step| step == "." || step == "..") {
                return Err(TemplateError::Dots);
            }
        }
        Ok(text)
    }

    /// The value itself, if the text is nothing but one place without a form.
    fn alone(&self) -> Option<&Place> {
        match self.0.as_slice() {
            [Part::Text(before), Part::Place(place), Part::Text(after)]
                if before.is_empty() && after.is_empty() && place.form.is_none() =>
            {
                Some(place)
            }
            _ => None,
        }
    }
}

/// Judges the texts in a JSON value.
///
/// # Errors
/// As [`Template::parse`].
pub fn check_json(value: &Value) -> Result<(), TemplateError> {
    match value {
        Value::String(text) => Template::parse(text, Use::Body).map(drop),
        Value::Array(items) => items.iter().try_for_each(check_json),
        Value::Object(members) => members.values().try_for_each(check_json),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}

/// Fills the texts of a JSON value, the values of its members and items. A text that is nothing but one place
/// becomes the value itself, be it a number or an object; all others stay texts.
///
/// # Errors
/// As [`Template::render`].
pub fn render_json(value: &Value, run: &Run, task: &Task) -> Result<Value, TemplateError> {
    let mut left = MAX_RENDERED;
    fill(value, run, task, &mut left)
}

/// `left` is how many bytes may still be put in.
fn fill(value: &Value, run: &Run, task: &Task, left: &mut usize) -> Result<Value, TemplateError> {
    let mut spend = |bytes: usize| {
        *left = left.checked_sub(bytes).ok_or(TemplateError::TooLarge)?;
        Ok(())
    };
    Ok(match value {
        Value::String(text) => {
            let template = Template::parse(text, Use::Body)?;
            match template.alone() {
                Some(place) => {
                    let value = place.value(run, task)?.into_owned();
                    spend(value.to_string().len())?;
                    value
                }
                None => {
                    let text = template.render(run, task, Use::Body)?;
                    spend(text.len())?;
                    Value::String(text)
                }
            }
        }
        Value::Array(items) => {
            Value::Array(items.iter().map(|item| fill(item, run, task, left)).collect::<Result<_, _>>()?)
        }
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| Ok((name.clone(), fill(value, run, task, left)?)))
                .collect::<Result<_, TemplateError>>()?,
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    })
}

/// Whether a URL's literal beginning is past its host.
fn leaves_the_host(literal: &str) -> bool {
    literal.split_once("://").is_some_and(|(_, rest)| rest.contains(['/', '?', '#']))
}

impl Place {
    fn parse(text: &str, used: Use) -> Result<Self, TemplateError> {
        let (head, default) = match text.split_once(":-") {
            Some((head, default)) => (head, Some(default.to_owned())),
            None => (text, None),
        };
        let (name, form) = match head.split_once('|') {
            Some((name, form)) => (name, Some(form)),
            None => (head, None),
        };
        let form = match (form, used) {
            (None, _) => None,
            (Some("url"), _) => Some(Form::Url),
            (Some("json"), Use::Header | Use::Body) => Some(Form::Json),
            (Some("text"), Use::Header | Use::Body) => Some(Form::Text),
            (Some(form), Use::Url) => return Err(TemplateError::Form(form.to_owned(), "url")),
            (Some(form), _) => return Err(TemplateError::Form(form.to_owned(), "text, json and url")),
        };
        const OTHERS: [&str; 9] = [
            "params",
            "run.id",
            "run.attempt",
            "run.scheduled_for",
            "run.trigger",
            "task.id",
            "task.name",
            "task.type",
            "task.revision",
        ];
        let word = |word: &str| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        let is_param = name.strip_prefix("params.").is_some_and(|path| path.split('.').all(word));
        if !is_param && !OTHERS.contains(&name) {
            return Err(TemplateError::Name(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), form, default })
    }

    fn value<'a>(&self, run: &'a Run, task: &Task) -> Result<Cow<'a, Value>, TemplateError> {
        let text = |text: String| Cow::Owned(Value::String(text));
        Ok(match self.name.as_str() {
            "run.id" => text(run.id.to_string()),
            "run.attempt" => Cow::Owned(Value::from(run.life.attempt)),
            "run.scheduled_for" => text(run.scheduled_for.to_string()),
            "run.trigger" => text(run.trigger.as_str().to_owned()),
            "task.id" => text(task.id.to_string()),
            "task.name" => text(task.spec.name.clone()),
            "task.type" => text(task.kind.to_string()),
            "task.revision" => Cow::Owned(Value::from(task.revision)),
            "params" => match &run.params {
                Value::Null => Cow::Owned(Value::Object(serde_json::Map::new())),
                params => Cow::Borrowed(params),
            },
            name => {
                let mut path = name.split('.').skip(1);
                match (path.try_fold(&run.params, |value, step| value.get(step)), &self.default) {
                    (Some(value), _) => Cow::Borrowed(value),
                    (None, Some(default)) => text(default.clone()),
                    (None, None) => return Err(TemplateError::Missing(name.to_owned())),
                }
            }
        })
    }
}

fn put(text: &mut String, value: &Value, form: Form) {
    let plain = match value {
        Value::String(value) => Cow::Borrowed(value.as_str()),
        value => Cow::Owned(value.to_string()),
    };
    match form {
        Form::Text => text.push_str(&plain),
        Form::Json => {
            let _ = write!(text, "{value}");
        }
        Form::Url => {
            for byte in plain.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                    text.push(char::from(byte));
                } else {
                    let _ = write!(text, "%{byte:02X}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Trigger;
    use crate::state::{Life, RunState};
    use crate::task::{Owner, TaskSpec, TaskType};
    use crate::work::Work;
    use crate::{RunId, TaskId};
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde_json::json;

    fn run_and_task(params: Value) -> (Run, Task) {
        let at = Timestamp::UNIX_EPOCH;
        let task = Task {
            id: TaskId::new(1).unwrap(),
            kind: TaskType::default(),
            revision: 4,
            created_at: at,
            updated_at: at,
            owner: Owner::default(),
            metadata: serde_json::Map::new(),
            spec: TaskSpec::new("call home", Work::shell("")),
        };
        let run = Run {
            id: RunId::new(0xabc).unwrap(),
            task: task.id,
            revision: 4,
            trigger: Trigger::Manual,
            scheduled_for: at,
            run_at: at,
            accepted_at: at,
            life: Life { state: RunState::Starting, attempt: 3, epoch: 1 },
            started_at: None,
            finished_at: None,
            forced: false,
            params,
            idempotency_key: None,
            trace: None,
            usage: None,
            restarts: Default::default(),
            outcome: None,
            saved: Value::Null,
            local: Value::Null,
            events: Default::default(),
        };
        (run, task)
    }

    fn filled(text: &str, params: Value, used: Use) -> Result<String, TemplateError> {
        let (run, task) = run_and_task(params);
        Template::parse(text, used)?.render(&run, &task, used)
    }

    #[test]
    fn places_are_filled_with_what_the_run_has() {
        let params = json!({"region": "eu west", "n": 5, "deep": {"er": ["x"]}, "no": null});
        for (text, used, expected) in [
            ("plain $5 {x} $", Use::Body, "plain $5 {x} $"),
            ("$${params.n} and $$$${x}", Use::Body, "${params.n} and $$${x}"),
            ("${params.region}/${params.n}", Use::Body, "eu west/5"),
            ("${params.region|json} ${params.deep|json}", Use::Body, r#""eu west" {"er":["x"]}"#),
            ("a=${params.region|url}", Use::Body, "a=eu%20west"),
            ("${params.none:-a|b}", Use::Body, "a|b"),
            ("${params.none|json:-x}${params.none:-}", Use::Body, "\"x\""),
            ("${params.no}", Use::Body, "null"),
            ("${params.deep.er}", Use::Header, r#"["x"]"#),
            (
                "${run.id} ${run.attempt} ${run.scheduled_for} ${run.trigger}",
                Use::Header,
                "0000000000000abc 3 1970-01-01T00:00:00Z manual",
            ),
            (
                "${task.id} ${task.name} ${task.type} ${task.revision}",
                Use::Header,
                "0000000000000001 call home system 4",
            ),
            ("http://h/${params.region}?a=${params.n}", Use::Url, "http://h/eu%20west?a=5"),
            ("http://h?q=${params.deep.er}", Use::Url, "http://h?q=%5B%22x%22%5D"),
        ] {
            assert_eq!(filled(text, params.clone(), used).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn places_that_cannot_be_filled_are_errors() {
        for (text, used) in [
            ("${", Use::Body),
            ("${params.x", Use::Body),
            ("${}", Use::Body),
            ("${params.}", Use::Body),
            ("${params.a..b}", Use::Body),
            ("${env.HOME}", Use::Body),
            ("${run.secret}", Use::Body),
            ("${params.x|upper}", Use::Body),
            ("http://h/${params.x|text}", Use::Url),
            ("http://h/${params.x|json}", Use::Url),
            ("${params.x}", Use::Url),
            ("http://${params.x}/", Use::Url),
            ("http://h:${params.x}/", Use::Url),
            ("http://h${params.x}/", Use::Url),
        ] {
            assert!(Template::parse(text, used).is_err(), "{text}");
        }
        let missing = filled("${params.x}", Value::Null, Use::Body).unwrap_err();
        assert_eq!(
            missing.to_string(),
            "the run has no parameter for `params.x`; give one, or a default: `${params.x:-DEFAULT}`"
        );
        for step in [".", ".."] {
            let error = filled("http://h/a/${params.x}/b", json!({"x": step}), Use::Url);
            assert_eq!(error, Err(TemplateError::Dots));
        }
        let large = "x".repeat(10_000);
        let error = filled(&"${params.x}".repeat(1000), json!({"x": large}), Use::Body);
        assert_eq!(error, Err(TemplateError::TooLarge));
    }

    #[test]
    fn a_json_body_keeps_its_shape_whatever_the_parameters_are() {
        let (run, task) = run_and_task(json!({"n": 5, "s": "\"}, \"admin\": true", "o": {"k": [1]}}));
        let body = json!({"n": "${params.n}", "s": "${params.s}", "t": "<${params.s}>", "all": ["${params.o}", 1, null], "a": "${params.none:-x}"});
        check_json(&body).unwrap();
        let expected = json!({"n": 5, "s": "\"}, \"admin\": true", "t": "<\"}, \"admin\": true>", "all": [{"k": [1]}, 1, null], "a": "x"});
        assert_eq!(render_json(&body, &run, &task).unwrap(), expected);
        assert!(check_json(&json!([{"a": "${"}])).is_err());
    }

    proptest! {
        #[test]
        fn a_parameter_stays_one_step_of_a_path(value in ".*") {
            match filled("http://h/a/${params.x}/b", json!({"x": value}), Use::Url) {
                Ok(url) => {
                    prop_assert_eq!(url.matches('/').count(), 5);
                    prop_assert!(!url.contains(['?', '#', ' ', '\r', '\n']));
                }
                Err(error) => prop_assert_eq!(error, TemplateError::Dots),
            }
        }

        #[test]
        fn no_text_makes_the_reader_fall(text in ".*", json in "[${}params.:|-]*") {
            for used in [Use::Url, Use::Header, Use::Body] {
                let _ = Template::parse(&text, used);
                let _ = Template::parse(&json, used);
            }
        }
    }
}
