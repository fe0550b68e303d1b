//! Decimal text for numbers that are kept in status: nine significant digits, `-inf` allowed, never NaN.
//!
//! At each write the number in memory becomes the parse of what is written, so a restart changes nothing after it.

use super::state::{Numbers, Unreadable};

/// A number with nine significant digits.
fn print_one(number: f64) -> String {
    if number.is_nan() {
        // Unreachable by construction (every ratio is clamped); a reader refuses it rather than judging by it.
        return "nan".to_owned();
    }
    let rounded: f64 = format!("{number:.8e}").parse().unwrap_or(number);
    let size = rounded.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if size.is_finite() && !(1e-4..1e12).contains(&size) {
        format!("{rounded:e}")
    } else {
        format!("{rounded}")
    }
}

/// Numbers separated by spaces.
pub fn print(numbers: &[f64]) -> Numbers {
    Numbers(numbers.iter().map(|number| print_one(*number)).collect::<Vec<_>>().join(" "))
}

/// Exactly `N` numbers, none of them NaN or +∞.
pub fn parse<const N: usize>(numbers: &Numbers, what: &'static str) -> Result<[f64; N], Unreadable> {
    parse_any(numbers, what)?.try_into().map_err(|_| Unreadable { what })
}

/// Any count of numbers, none of them NaN or +∞.
pub fn parse_any(numbers: &Numbers, what: &'static str) -> Result<Vec<f64>, Unreadable> {
    let read = |word: &str| word.parse::<f64>().ok().filter(|number| *number < f64::INFINITY).ok_or(Unreadable { what });
    numbers.0.split_ascii_whitespace().map(read).collect()
}

/// As [`parse`], and none below 0: counts and sums.
pub fn parse_counts<const N: usize>(numbers: &Numbers, what: &'static str) -> Result<[f64; N], Unreadable> {
    let counts = parse(numbers, what)?;
    if counts.iter().all(|count| *count >= 0.0) { Ok(counts) } else { Err(Unreadable { what }) }
}
