//! What a process may be and use: its user and groups, its limits, its place among others. Everything that can be
//! slow or wrong is resolved in the daemon before a fork ([`resolve`]); the child only makes calls to the system
//! ([`Ready::apply`]), the same ones with a shim and without. What cannot be had is never left out: the child does
//! not become its program, and says at which step.

use super::cgroup::Group;
use nix::unistd;
use punctual_model::process::{ProcessContext, RLIMITS, Rlimit};
use punctual_model::{Failure, FailureKind};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Resource;
use rustix::process::{Gid, Uid};
use serde::{Deserialize, Serialize};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;

/// What the child sets, in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Control {
    /// By their place in [`RLIMITS`].
    limits: Vec<(u8, Rlimit)>,
    nice: Option<i8>,
    /// All of them; none to leave them as they are.
    groups: Option<Vec<u32>>,
    gid: Option<u32>,
    uid: Option<u32>,
    no_new_privs: bool,
    umask: Option<u32>,
    /// The group that keeps limits of the whole attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cgroup: Option<Group>,
}

/// Who the work is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    name: String,
    home: String,
}

/// Everything that is set for an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Resolved {
    pub(crate) control: Control,
    /// If the task names a user.
    pub(crate) account: Option<Account>,
}

impl Account {
    /// What its programs expect to find in their environment.
    pub(crate) fn variables(&self) -> [(&'static str, &str); 3] {
        [("HOME", &self.home), ("USER", &self.name), ("LOGNAME", &self.name)]
    }
}

/// Looks everything up; blocks where the machine asks another one for its users.
///
/// # Errors
/// Somebody is named who is not known here: no other attempt goes better. Whoever knows could not be asked: another one
/// may.
pub(crate) fn resolve(context: &ProcessContext) -> Result<Resolved, Failure> {
    let account = context.user.as_deref().map(|user| account(user, context)).transpose()?;
    let gid = match (&context.group, &account) {
        (Some(group), _) => Some(group_id(group)?),
        (None, Some(account)) => Some(account.gid),
        (None, None) => None,
    };
    let groups = match (&context.groups, &account) {
        (Some(groups), _) => Some(groups.iter().map(|group| group_id(group)).collect::<Result<Vec<_>, _>>()?),
        (None, Some(account)) => Some(groups_of(account)?),
        (None, None) => None,
    };
    let number_of = |name: &str| RLIMITS.iter().position(|known| *known == name);
    let limits = context.rlimits.iter().filter_map(|(name, limit)| {
        let number = number_of(name).and_then(|number| u8::try_from(number).ok())?;
        Some((number, *limit))
    });
    let control = Control {
        limits: limits.collect(),
        nice: context.nice,
        groups: groups.filter(|groups| !are_ours(groups, gid)),
        gid,
        uid: account.as_ref().map(|account| account.uid),
        no_new_privs: context.no_new_privs,
        umask: context.umask.as_deref().and_then(|umask| u32::from_str_radix(umask, 8).ok()),
        // Made when everything else is known.
        cgroup: None,
    };
    Ok(Resolved { control, account })
}

/// Who a run's own directory belongs to, if not to the daemon. Blocks as [`resolve`] does.
pub(crate) fn owner(context: &ProcessContext) -> Result<Option<(u32, u32)>, Failure> {
    let control = resolve(context)?.control;
    let (uid, gid) = (control.uid, control.gid);
    let us = || (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    Ok((uid.is_some() || gid.is_some()).then(|| (uid.unwrap_or(us().0), gid.unwrap_or(us().1))))
}

/// Whether these are the groups that the child has anyway, so that a daemon without the right to change them need not.
fn are_ours(groups: &[u32], gid: Option<u32>) -> bool {
    let gid = gid.unwrap_or_else(|| rustix::process::getegid().as_raw());
    let sorted = |mut all: Vec<u32>| {
        // The main group counts as one of them wherever rights are looked at.
        all.retain(|group| *group != gid);
        all.sort_unstable();
        all.dedup();
        all
    };
    let ours = rustix::process::getgroups().unwrap_or_default();
    gid == rustix::process::getegid().as_raw()
        && sorted(groups.to_vec()) == sorted(ours.into_iter().map(Gid::as_raw).collect())
}

fn account(user: &str, context: &ProcessContext) -> Result<Account, Failure> {
    let number: Option<u32> = user.parse().ok();
    let found = match number {
        Some(number) => unistd::User::from_uid(unistd::Uid::from_raw(number)),
        None => unistd::User::from_name(user),
    };
    match (found_or_none(found, "user", user)?, number) {
        (Some(found), _) => Ok(Account {
            uid: found.uid.as_raw(),
            gid: found.gid.as_raw(),
            home: found.dir.to_string_lossy().into_owned(),
            name: found.name,
        }),
        (None, Some(uid)) => {
            // A number needs no account, but then nothing says which group is its own.
            let Some(group) = &context.group else {
                let text = format!("user {uid} has no account on this machine, so its group has to be named");
                return Err(Failure::new(FailureKind::Start, text));
            };
            Ok(Account { uid, gid: group_id(group)?, name: uid.to_string(), home: "/".to_owned() })
        }
        (None, None) => Err(unknown("user", user)),
    }
}

fn group_id(group: &str) -> Result<u32, Failure> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let found = found_or_none(unistd::Group::from_name(group), "group", group)?;
    found.map(|found| found.gid.as_raw()).ok_or_else(|| unknown("group", group))
}

fn groups_of(account: &Account) -> Result<Vec<u32>, Failure> {
    let name = CString::new(account.name.as_str()).map_err(|_| unknown("user", &account.name))?;
    let found = unistd::getgrouplist(&name, unistd::Gid::from_raw(account.gid))
        .map_err(|error| not_told("groups of user", &account.name, error))?;
    Ok(found.into_iter().map(unistd::Gid::as_raw).collect())
}

/// What the system's own sources say when they do not know somebody differs; see the manual of `getpwnam`.
fn found_or_none<T>(found: nix::Result<Option<T>>, what: &str, name: &str) -> Result<Option<T>, Failure> {
    use nix::errno::Errno::{EBADF, ENOENT, EPERM, ESRCH};
    match found {
        Ok(found) => Ok(found),
        Err(ENOENT | ESRCH | EBADF | EPERM) => Ok(None),
        Err(error) => Err(not_told(what, name, error)),
    }
}

fn unknown(what: &str, name: &str) -> Failure {
    Failure::new(FailureKind::Start, format!("there is no {what} {name:?} on this machine"))
}

fn not_told(what: &str, name: &str, error: nix::errno::Errno) -> Failure {
    let text = format!("{what} {name:?} could not be looked up: {}", error.desc());
    Failure::new(FailureKind::Start, text).recoverable()
}

/// What the child was at when it could not go on; a byte, since that is all that a child can tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step(pub(crate) u8);

impl Step {
    /// The start itself.
    pub(crate) const START: Self = Self(0);
    const NICE: Self = Self(1);
    const GROUPS: Self = Self(2);
    const GROUP: Self = Self(3);
    const USER: Self = Self(4);
    const NO_NEW_PRIVS: Self = Self(5);
    const CGROUP: Self = Self(6);
    /// And from here on the limits, as they stand in [`RLIMITS`].
    const LIMITS: u8 = 16;

    /// Why an attempt did not start, if it was not the start itself.
    pub(crate) fn text(self, context: &ProcessContext, error: &io::Error) -> Option<String> {
        let what = match self {
            Self::NICE => format!("its niceness cannot be {}", context.nice.unwrap_or_default()),
            Self::GROUPS => "its groups cannot be set".to_owned(),
            Self::GROUP => match &context.group {
                Some(group) => format!("it cannot have group {group:?}"),
                None => format!("it cannot have the group of user {:?}", context.user.as_deref()?),
            },
            Self::USER => format!("it cannot be user {:?}", context.user.as_deref()?),
            Self::CGROUP => "it cannot enter its control group".to_owned(),
            Self::NO_NEW_PRIVS => "it cannot be kept from gaining rights".to_owned(),
            Self(step) => {
                let name = RLIMITS.get(usize::from(step.checked_sub(Self::LIMITS)?))?;
                format!("its limit {name:?} cannot be set")
            }
        };
        let is_refused = Errno::from_io_error(error) == Some(Errno::PERM);
        let hint = if is_refused { " (the daemon has not the right to)" } else { "" };
        Some(format!("{what}: {error}{hint}"))
    }
}

/// Why the child does not go on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Refused {
    pub(crate) step: Step,
    pub(crate) error: Errno,
}

/// All of it in the form in which the system takes it.
#[derive(Debug)]
pub(crate) struct Ready {
    limits: Vec<(u8, Resource, rustix::process::Rlimit)>,
    nice: Option<i32>,
    groups: Option<Vec<Gid>>,
    gid: Option<Gid>,
    uid: Option<Uid>,
    no_new_privs: bool,
    umask: Option<Mode>,
    /// What is to be written to, to be in its group.
    entries: Vec<CString>,
}

impl Control {
    /// Makes it ready for a child.
    pub(crate) fn ready(&self) -> Ready {
        let limits = self.limits.iter().filter_map(|(number, limit)| {
            let bound = |bound| Some(bound).filter(|bound| *bound != Rlimit::UNLIMITED);
            let (current, maximum) = (bound(limit.soft), bound(limit.hard));
            Some((*number, resource(*number)?, rustix::process::Rlimit { current, maximum }))
        });
        let entries = self.cgroup.iter().flat_map(Group::entries);
        Ready {
            limits: limits.collect(),
            nice: self.nice.map(i32::from),
            groups: self.groups.as_ref().map(|all| all.iter().copied().map(Gid::from_raw).collect()),
            gid: self.gid.map(Gid::from_raw),
            uid: self.uid.map(Uid::from_raw),
            no_new_privs: self.no_new_privs,
            umask: self.umask.map(Mode::from_bits_truncate),
            // A path that came from the system has no zero in it; one that has cannot be entered.
            entries: entries
                .map(|path| CString::new(path.into_os_string().into_vec()).unwrap_or_default())
                .collect(),
        }
    }

    /// Whether the child has nothing to do.
    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The one with this place in [`RLIMITS`].
fn resource(number: u8) -> Option<Resource> {
    Some(match *RLIMITS.get(usize::from(number))? {
        "as" => Resource::As,
        "core" => Resource::Core,
        "cpu" => Resource::Cpu,
        "data" => Resource::Data,
        "fsize" => Resource::Fsize,
        "locks" => Resource::Locks,
        "memlock" => Resource::Memlock,
        "msgqueue" => Resource::Msgqueue,
        "nice" => Resource::Nice,
        "nofile" => Resource::Nofile,
        "nproc" => Resource::Nproc,
        "rss" => Resource::Rss,
        "rtprio" => Resource::Rtprio,
        "sigpending" => Resource::Sigpending,
        "stack" => Resource::Stack,
        _ => return None,
    })
}

impl Ready {
    /// Called in the child, between fork and exec, when its output is in its place: nothing here allocates or locks. What
    /// needs the daemon's rights comes first; from the user on there is no way back.
    pub(crate) fn apply(&self) -> Result<(), Refused> {
        let at = |step| move |error| Refused { step, error };
        for entry in &self.entries {
            let file = rustix::fs::open(entry.as_c_str(), OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
            // Whoever writes it, whatever its number is in his own view.
            file.and_then(|file| rustix::io::write(&file, b"0")).map_err(at(Step::CGROUP))?;
        }
        for (number, resource, limit) in &self.limits {
            let step = Step(Step::LIMITS.saturating_add(*number));
            rustix::process::setrlimit(*resource, *limit).map_err(at(step))?;
        }
        if let Some(nice) = self.nice {
            rustix::process::setpriority_process(None, nice).map_err(at(Step::NICE))?;
        }
        if self.uid.is_some() || self.gid.is_some() {
            // Programs that open /dev/stdout anew need a right to it. Where this is refused the rest is too.
            let _ = rustix::fs::fchown(rustix::stdio::stdout(), self.uid, self.gid);
            let _ = rustix::fs::fchown(rustix::stdio::stderr(), self.uid, self.gid);
        }
        // The process has one thread, so what is done to the thread is done to it.
        if let Some(groups) = &self.groups {
            rustix::thread::set_thread_groups(groups).map_err(at(Step::GROUPS))?;
        }
        if let Some(gid) = self.gid {
            rustix::thread::set_thread_res_gid(gid, gid, gid).map_err(at(Step::GROUP))?;
        }
        if let Some(uid) = self.uid {
            match rustix::thread::clear_ambient_capability_set() {
                // A kernel that has none.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(error) => return Err(Refused { step: Step::USER, error }),
            }
            rustix::thread::set_thread_res_uid(uid, uid, uid).map_err(at(Step::USER))?;
        }
        if self.no_new_privs {
            rustix::thread::set_no_new_privs(true).map_err(at(Step::NO_NEW_PRIVS))?;
        }
        if let Some(umask) = self.umask {
            rustix::process::umask(umask);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn refused(context: &ProcessContext) -> (String, bool) {
        let failure = resolve(context).unwrap_err();
        assert_eq!(failure.kind, FailureKind::Start);
        (failure.message, failure.recoverable)
    }

    #[test]
    fn each_limit_that_can_be_named_has_its_number() {
        let all = || u8::try_from(RLIMITS.len()).unwrap();
        let found: Vec<Resource> = (0..all()).filter_map(resource).collect();
        assert_eq!(found.len(), RLIMITS.len());
        let (error, context) = (io::Error::from(Errno::PERM), ProcessContext::default());
        for (number, name) in (0..).zip(RLIMITS) {
            let text = Step(Step::LIMITS + number).text(&context, &error).unwrap();
            assert!(text.contains(&format!("{name:?}")) && text.contains("has not the right"), "{text}");
        }
        assert_eq!(Step(Step::LIMITS + all()).text(&context, &error), None);
        assert_eq!(Step::START.text(&context, &error), None);
    }

    #[test]
    fn who_is_not_known_here_is_named() {
        let nobody = "no-such-account-here".to_owned();
        let user = ProcessContext { user: Some(nobody.clone()), ..Default::default() };
        assert_eq!(refused(&user), (format!("there is no user {nobody:?} on this machine"), false));
        let group = ProcessContext { group: Some(nobody.clone()), ..Default::default() };
        assert_eq!(refused(&group), (format!("there is no group {nobody:?} on this machine"), false));
        let groups = ProcessContext { groups: Some(vec![nobody.clone()]), ..Default::default() };
        assert_eq!(refused(&groups), (format!("there is no group {nobody:?} on this machine"), false));
    }

    #[test]
    fn a_number_needs_no_account_but_then_a_group() {
        let number = 4_000_000_123_u32;
        let mut context = ProcessContext { user: Some(number.to_string()), ..Default::default() };
        let (text, recoverable) = refused(&context);
        assert!(text.contains("its group has to be named") && !recoverable, "{text}");
        (context.group, context.groups) = (Some("4000000124".to_owned()), Some(Vec::new()));
        let resolved = resolve(&context).unwrap();
        assert_eq!((resolved.control.uid, resolved.control.gid), (Some(number), Some(number + 1)));
        let account = resolved.account.unwrap();
        assert_eq!(account.variables().map(|(_, value)| value), ["/", "4000000123", "4000000123"]);
        assert_eq!(owner(&context).unwrap(), Some((number, number + 1)));
        assert_eq!(owner(&ProcessContext::default()).unwrap(), None);
    }

    #[test]
    fn what_is_not_asked_for_is_left_alone_and_the_rest_arrives_as_it_was() {
        assert!(resolve(&ProcessContext::default()).unwrap().control.is_nothing());
        let limit = Rlimit { soft: 5, hard: Rlimit::UNLIMITED };
        let context = ProcessContext {
            rlimits: BTreeMap::from([("nofile".to_owned(), limit)]),
            nice: Some(5),
            umask: Some("027".to_owned()),
            no_new_privs: true,
            ..Default::default()
        };
        let control = resolve(&context).unwrap().control;
        assert_eq!((control.umask, control.nice, control.limits.len()), (Some(0o27), Some(5), 1));
        let sent = serde_json::to_vec(&control).unwrap();
        assert_eq!(serde_json::from_slice::<Control>(&sent).unwrap(), control);
        assert_eq!(control.ready().limits[0].2.maximum, None);
    }
}
