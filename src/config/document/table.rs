//! A table of a document, with the schema it has to follow.

use std::rc::Rc;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    item::Item,
    schema::{Schema, SchemaKey},
};
use crate::config::{
    file::SourceFile,
    lines,
    problem::{Ledger, did_you_mean},
};

/// One table while it is read.
#[derive(Clone)]
pub struct Table<'a> {
    pub(super) file: &'a Rc<SourceFile>,
    pub(super) ledger: &'a Ledger,
    /// Empty for the document itself.
    pub(super) path: String,
    pub(super) table: &'a DeTable<'a>,
    schema: Option<&'static Schema>,
    /// The schema of the document around it.
    pub(super) outer: Option<&'static Schema>,
}

/// Parses a file. `None` where it is not TOML: that is told, and nothing else can be said of the file.
pub fn open<'a>(file: &'a Rc<SourceFile>, ledger: &Ledger) -> Option<Spanned<DeTable<'a>>> {
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    if errors.is_empty() {
        return Some(document);
    }
    let starts = lines::starts(&file.text);
    let mut last = 0;
    for error in &errors {
        let line = error.span().map_or(1, |span| lines::line(&starts, span.start));
        // One slip often upsets the parser several times on its line.
        if line > last {
            ledger.line(&file.path, line, "", format!("this is not TOML: {}", error.message().trim_end_matches('.')));
            last = line;
        }
    }
    None
}

impl<'a> Item<'a> {
    /// The table inside.
    pub fn table(&self) -> Option<Table<'a>> {
        let Some(table) = self.value.as_table() else {
            self.wrong_type("a table");
            return None;
        };
        Some(Table::inner(self, table))
    }
}

impl<'a> Table<'a> {
    /// The document of `file`, whose keys are those of `schema`: every other is told at once.
    pub fn document(
        file: &'a Rc<SourceFile>,
        document: &'a Spanned<DeTable<'a>>,
        schema: &'static Schema,
        ledger: &'a Ledger,
    ) -> Self {
        let table = Self { file, ledger, path: String::new(), table: document.get_ref(), schema: None, outer: None };
        Self { outer: Some(schema), ..table.with(schema) }
    }

    /// The table that is the value of `item`; its keys are the user's own words until [`Table::with`] says otherwise.
    pub(super) fn inner(item: &Item<'a>, table: &'a DeTable<'a>) -> Self {
        Self { file: item.file, ledger: item.ledger, path: item.path.clone(), table, schema: None, outer: item.outer }
    }

    /// The same table under `schema`.
    pub fn with(mut self, schema: &'static Schema) -> Self {
        self.schema = Some(schema);
        for key in self.table.keys() {
            let key: &str = key.get_ref();
            if schema.keys.iter().any(|known| known.name == key) {
                continue;
            }
            let message = match schema.refused.iter().find(|(name, _)| *name == key) {
                Some((_, why)) => (*why).to_owned(),
                None => unknown(key, schema, self.outer),
            };
            self.ledger.key(self.file, lines::child(&self.path, key), message);
        }
        self
    }

    /// The value of a key of the schema, if it is there.
    pub fn get(&self, name: &str) -> Option<Item<'a>> {
        let known = self.schema.and_then(|schema| schema.keys.iter().find(|key| key.name == name));
        debug_assert!(known.is_some(), "`{name}` is read but not in the schema");
        let value = self.table.get(name)?;
        Some(self.item(name, value.get_ref(), known.copied()?))
    }

    /// All entries, where the keys are the user's own words (names of people, variables).
    pub fn entries(&self, key: SchemaKey) -> impl Iterator<Item = (&'a str, Item<'a>)> + '_ {
        self.table.iter().map(move |(name, value)| {
            let name: &'a str = name.get_ref();
            (name, self.item(name, value.get_ref(), key))
        })
    }

    /// Says that `key`, which is not there, is wrong or must be.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        self.ledger.key(self.file, lines::child(&self.path, key), message);
    }

    /// The value of a key that must be there.
    pub fn require(&self, name: &str) -> Option<Item<'a>> {
        let item = self.get(name);
        if item.is_none() {
            let example = self
                .schema
                .and_then(|schema| schema.keys.iter().find(|key| key.name == name))
                .map_or("…", |k| k.example);
            self.problem(name, format!("missing: write e.g. `{name} = {example}`"));
        }
        item
    }

    fn item(&self, name: &str, value: &'a DeValue<'a>, key: SchemaKey) -> Item<'a> {
        Item {
            file: self.file,
            ledger: self.ledger,
            path: lines::child(&self.path, name),
            key,
            value,
            outer: self.outer,
        }
    }
}

fn unknown(key: &str, schema: &Schema, outer: Option<&Schema>) -> String {
    // The trap of TOML: what follows `[healthcheck]` belongs to it, empty lines or not.
    if outer.is_some_and(|outer| outer.keys.iter().any(|known| known.name == key)) {
        return format!("unknown key here: `{key}` belongs to the file itself, write it above the first `[…]`");
    }
    let guess = did_you_mean(key, schema.keys.iter().map(|key| key.name));
    if !guess.is_empty() {
        return format!("unknown key{guess}");
    }
    let known: Vec<_> = schema.keys.iter().map(|key| format!("`{}`", key.name)).collect();
    format!("unknown key: known are {}", known.join(", "))
}
