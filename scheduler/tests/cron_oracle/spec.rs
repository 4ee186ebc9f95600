//! An expression as the oracle knows it: a structure that is written out as text for the parser
//! under test, and matched against a civil time directly, item by item. Shares no code with it.

use jiff::ToSpan;
use jiff::civil::{Date, DateTime};

const MONTHS: [&str; 12] =
    ["jan", "FEB", "Mar", "apr", "MAY", "jun", "JUL", "aug", "Sep", "oct", "nov", "DEC"];
const WEEKDAYS: [&str; 7] = ["sun", "MON", "Tue", "wed", "THU", "fri", "Sat"];

/// A small seeded generator, so that a failure can be repeated.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: u16) -> u16 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(sides)) as u16
    }

    pub(crate) fn one_in(&mut self, sides: u16) -> bool {
        self.roll(sides) == 0
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Item {
    Star,
    StarStep(u16),
    One(u16),
    From(u16, u16),
    Range(u16, u16, u16),
    Last,
    LastWorkday,
    Nearest(u16),
    LastWeekday(u16),
    Nth(u16, u16),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Field {
    Second,
    Minute,
    Hour,
    Day,
    Month,
    Weekday,
    Year,
}

impl Field {
    fn limits(self) -> (u16, u16) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::Day => (1, 31),
            Self::Month => (1, 12),
            Self::Weekday => (0, 6),
            // Narrow, so that the years under test are often among them.
            Self::Year => (2024, 2032),
        }
    }

    fn value(self, value: u16, named: bool) -> String {
        match self {
            Self::Month if named => MONTHS[usize::from(value - 1)].to_owned(),
            Self::Weekday if named => WEEKDAYS[usize::from(value)].to_owned(),
            _ => value.to_string(),
        }
    }
}

/// What one random item of a field may be.
fn item(field: Field, dice: &mut Dice) -> Item {
    let (low, high) = field.limits();
    let size = high - low + 1;
    let special = dice.one_in(4);
    match field {
        Field::Day if special => match dice.roll(3) {
            0 => return Item::Last,
            1 => return Item::LastWorkday,
            _ => return Item::Nearest(1 + dice.roll(31)),
        },
        Field::Weekday if special => {
            return match dice.roll(2) {
                0 => Item::LastWeekday(dice.roll(7)),
                _ => Item::Nth(dice.roll(7), 1 + dice.roll(5)),
            };
        }
        _ => {}
    }
    let value = low + dice.roll(size);
    let end = value + dice.roll(high - value + 1);
    match dice.roll(5) {
        0 => Item::From(value, 1 + dice.roll(size - 1)),
        1 => Item::Range(value, end, 1),
        2 => Item::Range(value, end, 1 + dice.roll(size / 2)),
        _ => Item::One(value),
    }
}

fn items(field: Field, star_in: u16, dice: &mut Dice) -> Vec<Item> {
    if dice.one_in(star_in) {
        let (low, high) = field.limits();
        if field != Field::Year && dice.one_in(2) {
            return vec![Item::StarStep(1 + dice.roll(high - low))];
        }
        return vec![Item::Star];
    }
    (0..=dice.roll(3)).map(|_| item(field, dice)).collect()
}

/// A whole expression.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    second: Option<Vec<Item>>,
    minute: Vec<Item>,
    hour: Vec<Item>,
    day: Vec<Item>,
    month: Vec<Item>,
    weekday: Vec<Item>,
    year: Option<Vec<Item>>,
    named: bool,
}

impl Spec {
    /// A random expression of 5, 6 or 7 fields.
    pub(crate) fn random(fields: u8, dice: &mut Dice) -> Self {
        Self {
            second: (fields > 5).then(|| items(Field::Second, 4, dice)),
            minute: items(Field::Minute, 3, dice),
            hour: items(Field::Hour, 3, dice),
            day: items(Field::Day, 2, dice),
            month: items(Field::Month, 2, dice),
            weekday: items(Field::Weekday, 2, dice),
            year: (fields > 6).then(|| items(Field::Year, 2, dice)),
            named: dice.one_in(2),
        }
    }

    /// A random expression that has something to do at night, every day.
    pub(crate) fn nightly(fields: u8, dice: &mut Dice) -> Self {
        let mut spec = Self::random(fields, dice);
        if !dice.one_in(4) {
            spec.hour = vec![Item::Range(0, dice.roll(4), 1)];
        }
        while dice.one_in(2) && starred(&spec.minute) {
            spec.minute = items(Field::Minute, 9, dice);
        }
        if !dice.one_in(4) {
            (spec.day, spec.month, spec.weekday) = (vec![Item::Star], vec![Item::Star], vec![Item::Star]);
            spec.year = spec.year.map(|_| vec![Item::Star]);
        }
        spec
    }

    /// The text for the parser under test.
    pub(crate) fn text(&self) -> String {
        let write = |field: Field, items: &[Item]| {
            let value = |value: u16| field.value(value, self.named);
            let texts: Vec<String> = items
                .iter()
                .map(|item| match *item {
                    Item::Star => "*".to_owned(),
                    Item::StarStep(step) => format!("*/{step}"),
                    Item::One(one) => value(one),
                    Item::From(from, step) => format!("{}/{step}", value(from)),
                    Item::Range(low, high, 1) => format!("{}-{}", value(low), value(high)),
                    Item::Range(low, high, step) => format!("{}-{}/{step}", value(low), value(high)),
                    Item::Last => "L".to_owned(),
                    Item::LastWorkday => "LW".to_owned(),
                    Item::Nearest(day) => format!("{day}W"),
                    Item::LastWeekday(day) => format!("{}L", value(day)),
                    Item::Nth(day, nth) => format!("{}#{nth}", value(day)),
                })
                .collect();
            texts.join(",")
        };
        let mut fields = Vec::new();
        fields.extend(self.second.iter().map(|items| write(Field::Second, items)));
        fields.push(write(Field::Minute, &self.minute));
        fields.push(write(Field::Hour, &self.hour));
        fields.push(write(Field::Day, &self.day));
        fields.push(write(Field::Month, &self.month));
        fields.push(write(Field::Weekday, &self.weekday));
        fields.extend(self.year.iter().map(|items| write(Field::Year, items)));
        fields.join(" ")
    }

    /// Minute and hour are both fixed.
    pub(crate) fn is_fixed(&self) -> bool {
        !starred(&self.minute) && !starred(&self.hour)
    }

    pub(crate) fn matches_date(&self, date: Date) -> bool {
        let plain = |field, items: &[Item], value| items.iter().any(|item| covers(field, *item, value));
        let days = self.day.iter().any(|item| match *item {
            Item::Last => date == date.last_of_month(),
            Item::LastWorkday => Some(date) == workdays(date).last(),
            Item::Nearest(day) => nearest(date, day) == Some(date),
            other => covers(Field::Day, other, date.day() as u16),
        });
        let number = date.weekday().to_sunday_zero_offset() as u16;
        let weekdays = self.weekday.iter().any(|item| match *item {
            Item::LastWeekday(day) => day == number && (date + 7.days()).month() != date.month(),
            Item::Nth(day, nth) => {
                let before = (1..=date.day()).filter(|day| {
                    let other = Date::new(date.year(), date.month(), *day).unwrap();
                    other.weekday() == date.weekday()
                });
                day == number && before.count() == usize::from(nth)
            }
            other => covers(Field::Weekday, other, number),
        });
        let both = starred(&self.day) || starred(&self.weekday);
        let year = self.year.as_ref();
        (if both { days && weekdays } else { days || weekdays })
            && plain(Field::Month, &self.month, date.month() as u16)
            && year.is_none_or(|items| plain(Field::Year, items, date.year() as u16))
    }

    pub(crate) fn matches_time(&self, at: DateTime) -> bool {
        let any = |field, items: &[Item], value: i8| {
            items.iter().any(|item| covers(field, *item, value.unsigned_abs().into()))
        };
        any(Field::Minute, &self.minute, at.minute())
            && any(Field::Hour, &self.hour, at.hour())
            && match &self.second {
                None => at.second() == 0,
                Some(items) => any(Field::Second, items, at.second()),
            }
    }
}

fn starred(items: &[Item]) -> bool {
    matches!(items[0], Item::Star | Item::StarStep(_))
}

fn covers(field: Field, item: Item, value: u16) -> bool {
    let low = if field == Field::Year { 1970 } else { field.limits().0 };
    match item {
        Item::Star => true,
        Item::StarStep(step) => (value - low).is_multiple_of(step),
        Item::One(one) => value == one,
        Item::From(from, step) => value >= from && (value - from).is_multiple_of(step),
        Item::Range(from, to, step) => (from..=to).contains(&value) && (value - from).is_multiple_of(step),
        _ => false,
    }
}

fn workdays(date: Date) -> impl Iterator<Item = Date> {
    let first = date.first_of_month();
    (0..i64::from(date.days_in_month()))
        .map(move |day| first + day.days())
        .filter(|date| date.weekday().to_monday_zero_offset() < 5)
}

/// The workday of the month with the least distance to `day`; the month must have that day.
fn nearest(date: Date, day: u16) -> Option<Date> {
    let target = Date::new(date.year(), date.month(), day as i8).ok()?;
    workdays(date).min_by_key(|workday| (target - *workday).get_days().abs())
}
