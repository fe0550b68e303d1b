//! Arithmetic of pods: what a weight, a surge and a share come to.

use crate::api::values::IntOrPercent;

/// Part of `of` that a number or a percentage names, rounded up. A text that is no percentage counts as 100%; the schema refuses it.
#[must_use]
pub fn rounded_up(value: &IntOrPercent, of: i32) -> i32 {
    match value {
        IntOrPercent::Int(number) => *number,
        IntOrPercent::Percent(text) => {
            let percent = text.trim_end_matches('%').parse::<i64>().unwrap_or(100);
            i32::try_from((i64::from(of) * percent + 99) / 100).unwrap_or(of)
        }
    }
}

/// Share of `part` in `whole`, in percent; 0 of 0 is 0.
#[must_use]
pub fn percent(part: i32, whole: i32) -> f64 {
    if whole <= 0 { 0.0 } else { 100.0 * f64::from(part) / f64::from(whole) }
}

/// A share written as `"0.5%"` or `"0.005"`. `None` unless it is a number in [0, 1].
#[must_use]
pub fn share(text: &str) -> Option<f64> {
    let (number, scale) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 100.0));
    number.parse::<f64>().ok().map(|number| number / scale).filter(|share| (0.0..=1.0).contains(share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_rounded_up_to_whole_pods() {
        let percent = |text: &str| IntOrPercent::Percent(text.into());
        let cases = [
            ("a number stands for itself", IntOrPercent::Int(3), 10, 3),
            ("a quarter of two is one pod", percent("25%"), 2, 1),
            ("exact parts stay exact", percent("25%"), 8, 2),
            ("all", percent("100%"), 7, 7),
            ("of nothing is nothing", percent("25%"), 0, 0),
        ];
        for (why, value, of, expected) in cases {
            assert_eq!(rounded_up(&value, of), expected, "{why}");
        }
    }

    #[test]
    fn shares_are_read_with_and_without_percent() {
        assert_eq!(share("1%"), Some(0.01));
        assert_eq!(share("0.005"), Some(0.005));
        assert_eq!(share("250%"), None);
        assert_eq!(share("often"), None);
    }
}
