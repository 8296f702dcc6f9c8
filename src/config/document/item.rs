//! One value of a document, and the typed ways to take it. Each tells what is wrong and gives `None`.

use std::rc::Rc;

use toml::de::DeValue;

use super::schema::{Schema, SchemaKey};
use crate::config::{
    file::SourceFile,
    lines,
    problem::{Ledger, shown},
};

/// A value, its path, and the key it belongs to.
#[derive(Clone)]
pub struct Item<'a> {
    pub(super) file: &'a Rc<SourceFile>,
    pub(super) ledger: &'a Ledger,
    pub path: String,
    pub key: SchemaKey,
    pub(super) value: &'a DeValue<'a>,
    pub(super) outer: Option<&'static Schema>,
}

impl<'a> Item<'a> {
    /// Says that this value is wrong.
    pub fn problem(&self, message: impl Into<String>) {
        self.ledger.key(self.file, self.path.clone(), message);
    }

    /// The text, if it is one.
    pub fn string(&self) -> Option<&'a str> {
        let Some(text) = self.value.as_str() else {
            self.wrong_type("a string");
            return None;
        };
        // Nothing a workspace says can be meant to hold a NUL or move a terminal's cursor.
        if let Some(c) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            self.problem(format!("contains the control character `{}`: remove it", c.escape_default()));
            return None;
        }
        Some(text)
    }

    /// The text, taken by `parse`; its error is "what is wrong: what would be right".
    pub fn parse<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match parse(self.string()?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.problem(message);
                None
            }
        }
    }

    /// `true` or `false`.
    pub fn bool(&self) -> Option<bool> {
        let value = self.value.as_bool();
        if value.is_none() {
            self.wrong_type("`true` or `false`");
        }
        value
    }

    /// A whole number in `min..=max`.
    pub fn integer(&self, min: u64, max: u64) -> Option<u64> {
        let Some(integer) = self.value.as_integer() else {
            self.wrong_type("a whole number");
            return None;
        };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok().filter(|n| (min..=max).contains(n));
        if value.is_none() {
            self.problem(format!("`{integer}` is not in the range: write a number from {min} to {max}"));
        }
        value
    }

    /// A number such as `0.5` or `2`.
    pub fn number(&self) -> Option<f64> {
        let value = match self.value {
            DeValue::Integer(integer) => integer.to_string().parse::<f64>().ok(),
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            _ => {
                self.wrong_type("a number");
                return None;
            }
        };
        value.or_else(|| {
            self.problem(format!("not a number: write e.g. `{}`", self.example()));
            None
        })
    }

    /// True where the value is a whole number; for keys that take a number or a text.
    pub fn is_integer(&self) -> bool {
        self.value.is_integer()
    }

    /// True where the value is a text.
    pub fn is_string(&self) -> bool {
        self.value.is_str()
    }

    /// True where the value is a list.
    pub fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// A text, or a number as it is written; for variables.
    pub fn scalar(&self) -> Option<String> {
        match self.value {
            DeValue::Integer(integer) => Some(integer.to_string()),
            DeValue::Float(float) => Some(float.as_str().to_owned()),
            DeValue::Boolean(value) => {
                self.problem(format!("the program gets a text: write `\"{value}\"`"));
                None
            }
            _ => self.string().map(str::to_owned),
        }
    }

    /// The elements of a list.
    pub fn list(&self) -> Option<Vec<Item<'a>>> {
        let Some(elements) = self.value.as_array() else {
            self.wrong_type("a list");
            return None;
        };
        let item = |(i, value): (usize, &'a toml::Spanned<DeValue<'a>>)| Item {
            path: lines::element(&self.path, i),
            value: value.get_ref(),
            ..self.clone()
        };
        Some(elements.iter().enumerate().map(item).collect())
    }

    /// Every element of a list of texts that `parse` takes.
    pub fn each<T>(&self, mut parse: impl FnMut(&str) -> Result<T, String>) -> Vec<T> {
        self.list().unwrap_or_default().iter().filter_map(|item| item.parse(&mut parse)).collect()
    }

    /// The same with each element's index in the file, which elements that are wrong count in, too.
    pub fn numbered<T>(&self, mut parse: impl FnMut(&str) -> Result<T, String>) -> Vec<(usize, T)> {
        let items = self.list().unwrap_or_default().into_iter().enumerate();
        items.filter_map(|(i, item)| item.parse(&mut parse).map(|value| (i, value))).collect()
    }

    /// A list of texts as they are.
    pub fn strings(&self) -> Vec<String> {
        self.each(|text| Ok(text.to_owned()))
    }

    pub(super) fn wrong_type(&self, wanted: &str) {
        let found = match self.value {
            DeValue::String(text) => format!("the string {}", shown(text)),
            DeValue::Integer(integer) => format!("the number `{integer}`"),
            DeValue::Float(float) => format!("the number `{}`", float.as_str()),
            DeValue::Boolean(value) => format!("`{value}`"),
            DeValue::Datetime(_) => "a date".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        };
        self.problem(format!("expected {wanted}, found {found}: write e.g. `{}`", self.example()));
    }

    fn example(&self) -> String {
        format!("{} = {}", self.key.name, self.key.example)
    }
}
