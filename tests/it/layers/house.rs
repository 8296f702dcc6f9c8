//! All modules of one crate, and which file names what of which other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use crate::layers::module::{Source, source};

/// A file, a file that it depends on, and the names that say so.
pub type Edges = BTreeMap<(String, String), BTreeSet<String>>;

pub struct House {
    modules: Vec<Module>,
}

struct Module {
    /// From the crate's `src`.
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    source: Source,
}

/// What a path leads to: the module it ends at, if it is one, and the files that it goes through because of a name in them.
#[derive(Default)]
struct Found {
    module: Option<usize>,
    files: BTreeSet<usize>,
}

impl House {
    /// `dir` is a crate's `src`. Its roots are `lib.rs` and `main.rs`.
    pub fn read(dir: &Path) -> Self {
        Self::new(&|file| fs::read_to_string(dir.join(file)).ok())
    }

    /// `text` gives a file's text, by its path from `src`.
    pub fn new(text: &dyn Fn(&str) -> Option<String>) -> Self {
        let mut house = Self { modules: Vec::new() };
        for root in ["lib.rs", "main.rs"] {
            if let Some(code) = text(root) {
                house.add(root, "", None, source(&code), text);
            }
        }
        assert!(!house.modules.is_empty(), "there is neither a `lib.rs` nor a `main.rs`");
        house
    }

    /// `folder` is where the files of this module's children are.
    fn add(
        &mut self,
        file: &str,
        folder: &str,
        parent: Option<usize>,
        mut source: Source,
        text: &dyn Fn(&str) -> Option<String>,
    ) -> usize {
        let id = self.modules.len();
        let (files, inline) = (std::mem::take(&mut source.files), std::mem::take(&mut source.inline));
        self.modules.push(Module { file: file.to_owned(), parent, children: BTreeMap::new(), source });
        for (name, inner) in inline {
            let child = self.add(file, &format!("{folder}{name}/"), Some(id), inner, text);
            self.modules[id].children.insert(name, child);
        }
        for name in files {
            let places = [format!("{folder}{name}.rs"), format!("{folder}{name}/mod.rs")];
            let found = places.iter().find_map(|place| text(place).map(|text| (place, text)));
            let (place, code) = found.unwrap_or_else(|| panic!("src/{file}: there is no file for `mod {name}`"));
            let child = self.add(place, &format!("{folder}{name}/"), Some(id), self::source(&code), text);
            self.modules[id].children.insert(name, child);
        }
        id
    }

    /// `crate` of this module.
    fn root(&self, mut id: usize) -> usize {
        while let Some(parent) = self.modules[id].parent {
            id = parent;
        }
        id
    }

    /// `library` is the name by which `main.rs` knows `lib.rs`.
    pub fn edges(&self, library: &str) -> Edges {
        let mut out = Edges::new();
        for (id, module) in self.modules.iter().enumerate() {
            let mut uses: Vec<(Found, String)> = Vec::new();
            for import in &module.source.imports {
                // Which names of a `*` are used is asked below.
                if import.name.is_some() {
                    uses.push((self.resolve(id, &import.path, library, 0), import.path.join("::")));
                }
            }
            for path in &module.source.paths {
                uses.push((self.resolve(id, path, library, 0), path.join("::")));
            }
            for path in &module.source.texts {
                let mut found = self.resolve(id, path, library, 0);
                found.files.extend(found.module);
                uses.push((found, path.join("::")));
            }
            for import in module.source.imports.iter().filter(|import| import.name.is_none()) {
                let Some(target) = self.resolve(id, &import.path, library, 0).module else { continue };
                for name in &module.source.names {
                    let found = self.within(target, std::slice::from_ref(name), library, 0);
                    uses.extend(found.map(|found| (found, name.clone())));
                }
                if import_is_everything(module) {
                    uses.push((Found { module: None, files: [target].into() }, "*".into()));
                }
            }
            for (found, name) in uses {
                for to in found.files {
                    let to = &self.modules[to].file;
                    if *to != module.file {
                        out.entry((module.file.clone(), to.clone())).or_default().insert(name.clone());
                    }
                }
            }
        }
        out
    }

    /// What a path that module `from` says leads to.
    fn resolve(&self, from: usize, path: &[String], library: &str, depth: usize) -> Found {
        if depth > 32 || path.is_empty() {
            return Found::default();
        }
        let (mut at, mut rest) = (from, path);
        let mut relative = false;
        while let Some(first) = rest.first() {
            match first.as_str() {
                "crate" => at = self.root(from),
                "self" => {}
                "super" => at = self.modules[at].parent.unwrap_or(at),
                name if name == library && self.modules[self.root(from)].file == "main.rs" && !relative => at = 0,
                _ => break,
            }
            relative = true;
            rest = &rest[1..];
        }
        // A first name that is not here is another crate's, or the language's.
        self.within(at, rest, library, depth + 1).unwrap_or_default()
    }

    /// What `path` leads to in module `at`; `None` if its first name is not there.
    fn within(&self, at: usize, path: &[String], library: &str, depth: usize) -> Option<Found> {
        let Some((name, rest)) = path.split_first() else {
            return Some(Found { module: Some(at), files: BTreeSet::new() });
        };
        if depth > 32 {
            return None;
        }
        let module = &self.modules[at];
        let mut found: Option<Found> = None;
        if let Some(child) = module.children.get(name) {
            let deeper = self.within(*child, rest, library, depth + 1);
            // A name that a macro makes is in that module, too.
            let unknown = Found { module: None, files: [*child].into() };
            found = Some(deeper.unwrap_or(unknown));
        }
        if module.source.items.contains(name) && (found.is_none() || rest.is_empty()) {
            let found = found.get_or_insert_default();
            found.files.insert(at);
        }
        if found.is_some() {
            return found;
        }
        for import in module.source.imports.iter().filter(|import| import.name.as_ref() == Some(name)) {
            // `use name::…` in this module would ask itself.
            if import.path.first() == Some(name) && import.path.len() == 1 {
                continue;
            }
            let whole: Vec<String> = import.path.iter().chain(rest).cloned().collect();
            let mut leads = self.resolve(at, &whole, library, depth + 1);
            if leads.files.is_empty() && leads.module.is_none() {
                continue;
            }
            leads.files.insert(at);
            return Some(leads);
        }
        for import in module.source.imports.iter().filter(|import| import.name.is_none()) {
            let Some(target) = self.resolve(at, &import.path, library, depth + 1).module else { continue };
            if target == at {
                continue;
            }
            if let Some(mut leads) = self.within(target, path, library, depth + 1) {
                leads.files.insert(at);
                return Some(leads);
            }
        }
        None
    }
}

/// A module that only hands on what `*` names.
fn import_is_everything(module: &Module) -> bool {
    module.source.items.is_empty() && module.source.names.iter().all(|name| name == "pub")
}
