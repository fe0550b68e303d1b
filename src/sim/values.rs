//! Values as scenarios write them.

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, de};

use crate::decide::units::share;

/// A share, written as `"5%"` or `"0.05"`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share(pub f64);

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        share(&text).map(Self).ok_or_else(|| de::Error::custom(format!("{text:?} is not a share; write for example \"5%\" or \"0.05\"")))
    }
}

/// A length of time, written as `90s`, `10m`, `1h` or `1h30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wait(pub SignedDuration);

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse::<SignedDuration>()
            .ok()
            .filter(|wait| !wait.is_negative() && wait.as_hours() < 1000)
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is not a length of time; write for example \"90s\", \"10m\" or \"1h\"")))
    }
}
