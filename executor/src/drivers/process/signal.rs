//! Names of signals.

use rustix::process::Signal;

const NAMES: [(&str, Signal); 13] = [
    ("TERM", Signal::TERM),
    ("INT", Signal::INT),
    ("KILL", Signal::KILL),
    ("HUP", Signal::HUP),
    ("QUIT", Signal::QUIT),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("CONT", Signal::CONT),
    ("STOP", Signal::STOP),
    ("PIPE", Signal::PIPE),
    ("WINCH", Signal::WINCH),
];

/// The signal with this name, with or without `SIG`, in any case.
pub(super) fn parse(name: &str) -> Option<Signal> {
    let upper = name.to_ascii_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES.iter().find(|(name, _)| *name == short).map(|(_, signal)| *signal)
}

/// The signal that somebody asks for, by its name or its number.
///
/// # Errors
/// For any other, those that there are.
pub(super) fn asked(text: &str) -> Result<Signal, String> {
    let numbered = || {
        let number: i32 = text.parse().ok()?;
        NAMES.iter().find(|(_, signal)| signal.as_raw() == number).map(|(_, signal)| *signal)
    };
    parse(text).or_else(numbered).ok_or_else(|| {
        let known: Vec<String> =
            NAMES.iter().map(|(name, signal)| format!("{name} ({})", signal.as_raw())).collect();
        format!("unknown signal {text:?}: expected one of {}", known.join(", "))
    })
}

/// A signal's number, with its name if it is a known one.
pub(super) fn describe(number: i32) -> String {
    match NAMES.iter().find(|(_, signal)| signal.as_raw() == number) {
        Some((name, _)) => format!("signal {number} (SIG{name})"),
        None => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_in_any_spelling() {
        for name in ["SIGTERM", "TERM", "term", "SigTerm"] {
            assert_eq!(parse(name), Some(Signal::TERM), "{name}");
        }
        assert_eq!(parse("SIGNONSENSE"), None);
        assert_eq!(parse(""), None);
        assert_eq!((asked("sighup"), asked("1")), (Ok(Signal::HUP), Ok(Signal::HUP)));
        let unknown = asked("64").unwrap_err();
        assert!(unknown.contains("HUP (1)") && unknown.contains("USR2 (12)"), "{unknown}");
        assert_eq!(describe(9), "signal 9 (SIGKILL)");
        assert_eq!(describe(64), "signal 64");
    }
}
