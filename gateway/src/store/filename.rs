//! File names for server names: different for different names, on disks that ignore case too.

use mcp::names::ServerName;

const EXTENSION: &str = ".json";

/// `GitHub` becomes `+git+hub.json`. A plus never stands in a server's name.
pub(super) fn encode(name: &ServerName) -> String {
    let mut file = String::with_capacity(name.as_str().len() + EXTENSION.len());
    for character in name.as_str().chars() {
        if character.is_ascii_uppercase() {
            file.push('+');
        }
        file.push(character.to_ascii_lowercase());
    }
    file + EXTENSION
}

/// The server whose file has this name; `None` for a name that [`encode`] does not give.
pub(super) fn decode(file: &str) -> Option<ServerName> {
    let mut name = String::with_capacity(file.len());
    let mut upper = false;
    for character in file.strip_suffix(EXTENSION)?.chars() {
        match character {
            '+' => upper = true,
            _ => name.push(if std::mem::take(&mut upper) { character.to_ascii_uppercase() } else { character }),
        }
    }
    ServerName::parse(&name).ok().filter(|name| encode(name) == file)
}
