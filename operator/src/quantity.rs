//! Amounts as Kubernetes writes them: `500m`, `1.5`, `2Gi`, `1e3`.

/// The suffixes and what they multiply by.
const SUFFIXES: [(&str, f64); 16] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("", 1.0),
];

/// The amount; `None` when it is none, as the API server would say.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let amount: f64 = number.parse().ok()?;
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|power| power.parse::<i32>().ok());
    let scale = match exponent {
        Some(power) => 10_f64.powi(power),
        None => SUFFIXES.iter().find(|(name, _)| *name == suffix)?.1,
    };
    Some(amount * scale)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn amounts_are_what_kubernetes_reads() {
        for (text, amount) in [("1", 1.0), ("0.5", 0.5), ("500m", 0.5), ("2Gi", 2_147_483_648.0), ("1e3", 1000.0)] {
            assert_eq!(parse(text), Some(amount), "{text}");
        }
        for text in ["", "Gi", "1 Gi", "1GB", "one", "1e", "--1"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
