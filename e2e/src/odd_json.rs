//! JSON that a parser may take and a model would lose: odd numbers, escapes, keys that occur twice, spaces.

/// How deep values lie in values.
const DEPTH: u32 = 4;

const NUMBERS: [&str; 10] =
    ["0", "-0", "1.0", "1e2", "-1.50E+3", "1E-7", "9007199254740993", "1.00e300", "0.10", "-12e-0"];
const STRINGS: [&str; 9] = [
    r#""""#,
    r#""plain""#,
    r#""\u00e9é日""#,
    r#""\ud83e\udd80 🦀""#,
    r#""\/ \" \\ \b\f\n\r\t""#,
    r#""\u0000\u001f""#,
    r#""data: x\n\n""#,
    r#""{\"id\":1,\"method\":\"x\"}""#,
    r#""\u2028\u2029""#,
];
const KEYS: [&str; 10] = [
    r#""id""#,
    r#""task""#,
    r#""uri""#,
    r#""name""#,
    r#""_meta""#,
    r#""progressToken""#,
    r#""requestId""#,
    r#""\u0069d""#,
    r#""日\n""#,
    r#""""#,
];
const SPACES: [&str; 4] = ["", "", " ", "\t "];

/// Makes such values, the same for the same seed.
#[derive(Clone, Debug)]
pub struct OddJson(u64);

impl OddJson {
    /// By this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next value.
    pub fn value(&mut self) -> String {
        self.nested(DEPTH)
    }

    fn nested(&mut self, depth: u32) -> String {
        match self.below(if depth == 0 { 5 } else { 9 }) {
            0 | 1 => self.pick(&NUMBERS).to_owned(),
            2 | 3 => self.pick(&STRINGS).to_owned(),
            4 => self.pick(&["null", "true", "false"]).to_owned(),
            5 | 6 => format!("[{}]", self.several(|this| this.nested(depth - 1))),
            _ => {
                let member =
                    |this: &mut Self| format!("{}{}:{}", this.pick(&KEYS), this.pick(&SPACES), this.nested(depth - 1));
                format!("{{{}}}", self.several(member))
            }
        }
    }

    fn several(&mut self, mut one: impl FnMut(&mut Self) -> String) -> String {
        let all: Vec<_> = (0..self.below(5)).map(|_| self.pick(&SPACES).to_owned() + &one(self)).collect();
        all.join(",") + self.pick(&SPACES)
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        let at = self.below(from.len() as u64);
        from.iter().copied().cycle().nth(usize::try_from(at).unwrap_or_default()).unwrap_or_default()
    }

    /// SplitMix64 (Steele, Lea and Flood, 2014): good enough to mix, and the same everywhere.
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_json_and_the_same_again() {
        let (mut one, mut other) = (OddJson::new(7), OddJson::new(7));
        for _ in 0..1000 {
            let value = one.value();
            serde_json::from_str::<&serde_json::value::RawValue>(&value).unwrap();
            assert_eq!(value, other.value());
        }
    }
}
