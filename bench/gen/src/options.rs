//! The command line: `--name value` pairs.
use std::collections::HashMap;
use std::str::FromStr;

pub struct Options {
    values: HashMap<String, String>,
}

impl Options {
    pub fn from_arguments() -> Result<Self, String> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let mut values = HashMap::new();
        for pair in arguments.chunks(2) {
            match pair {
                [name, value] if name.starts_with("--") => {
                    values.insert(name[2..].to_string(), value.clone());
                }
                _ => return Err(format!("not an option and its value: {}", pair.join(" "))),
            }
        }
        Ok(Options { values })
    }

    /// The option's value, or nothing when it was not given.
    pub fn get<T: FromStr>(&self, name: &str) -> Result<Option<T>, String> {
        let Some(text) = self.values.get(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| format!("--{name} cannot be {text:?}"))
    }

    /// The value of an option that must be given.
    pub fn require<T: FromStr>(&self, name: &str) -> Result<T, String> {
        self.get(name)?.ok_or_else(|| format!("--{name} is missing"))
    }
}
