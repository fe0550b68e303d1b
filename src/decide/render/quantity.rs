//! Kubernetes' quantities: the same amount is written in many ways (`1`, `1000m`, `1.0`), and the API server rewrites them.

use crate::api::values::Quantity;

const NANOS: i128 = 1_000_000_000;

/// The text that stands for the quantity in Kubernetes' objects.
#[must_use]
pub fn text(quantity: &Quantity) -> String {
    match quantity {
        Quantity::Int(number) => number.to_string(),
        Quantity::Float(number) => number.to_string(),
        Quantity::Text(text) => text.clone(),
    }
}

/// The amount in billionths, rounded up as Kubernetes does. `None` if the text is no quantity, or one beyond all measure (over 10²⁹).
#[must_use]
pub fn nanos(text: &str) -> Option<i128> {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let divisor = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let scaled = digits.checked_mul(scale(suffix)?)?;
    Some(scaled / divisor + i128::from(scaled % divisor != 0))
}

/// One text for every way of writing the same amount: a plain decimal number. What is no quantity stays as it is.
#[must_use]
pub fn canonical(text: &str) -> String {
    let Some(nanos) = nanos(text) else { return text.to_owned() };
    let decimal = format!("{}.{:09}", nanos / NANOS, nanos % NANOS);
    decimal.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn scale(suffix: &str) -> Option<i128> {
    let decimal = |exponent: u32| 10_i128.checked_pow(exponent);
    let binary = |exponent: u32| Some(NANOS << exponent);
    match suffix {
        "n" => Some(1),
        "u" => decimal(3),
        "m" => decimal(6),
        "" => decimal(9),
        "k" => decimal(12),
        "M" => decimal(15),
        "G" => decimal(18),
        "T" => decimal(21),
        "P" => decimal(24),
        "E" => decimal(27),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => decimal(9 + suffix.strip_prefix(['e', 'E'])?.parse::<u32>().ok()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_amount_has_one_text() {
        let cases = [
            ("whole numbers", "1", "1"),
            ("thousandths make a whole", "1000m", "1"),
            ("a fraction is thousandths", "0.5", "0.5"),
            ("thousandths are a fraction", "500m", "0.5"),
            ("trailing zeros say nothing", "1.50", "1.5"),
            ("binary suffixes", "1Gi", "1073741824"),
            ("a fraction of a binary suffix", "1.5Gi", "1610612736"),
            ("the same in the smaller suffix", "1536Mi", "1610612736"),
            ("decimal suffixes", "2k", "2000"),
            ("exponents", "2e3", "2000"),
            ("exa is no exponent", "1E", "1000000000000000000"),
            ("nothing is finer than a billionth, rounded up", "1.5n", "0.000000002"),
            ("zero", "0", "0"),
            ("a text that is no quantity stays", "lots", "lots"),
            ("nor is an empty one", "", ""),
            ("two points are no number", "1.2.3", "1.2.3"),
            ("beyond all measure", "1e99", "1e99"),
        ];
        for (why, text, expected) in cases {
            assert_eq!(canonical(text), expected, "{why}");
        }
    }
}
