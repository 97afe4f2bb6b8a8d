//! Scripts in documents, and what they are to print.
//!
//! A block of `text` or `json` right behind a script shows what it prints, where `…` stands for anything.

/// A script, and what it is to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// Where it begins.
    pub line: usize,
    /// Its commands.
    pub script: String,
    /// What it is to print.
    pub output: String,
}

/// The scripts of a document that are blocks of this kind: what stands behind its fence.
pub fn blocks(document: &str, script: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut lines = document.lines().enumerate();
    let mut follows = false;
    while let Some((number, line)) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            follows &= line.is_empty();
            continue;
        };
        let text: Vec<&str> = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        match (kind, blocks.last_mut()) {
            _ if kind == script => {
                blocks.push(Block { line: number + 2, script: text.join("\n"), output: String::new() });
            }
            ("text" | "json", Some(last)) if follows => last.output = text.join("\n"),
            _ => {}
        }
        follows = kind == script;
    }
    blocks
}

/// Whether this was printed: all pieces of what is written, in their order.
pub fn printed(written: &str, output: &str) -> bool {
    let mut rest = output;
    written.split(['…', '\n']).map(str::trim).all(|piece| match rest.split_once(piece) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_has_the_output_that_stands_right_behind_it() {
        let document = "```sh\na\n```\n\n```text\nx…\n```\n\n```sh cluster\nb\n```\nand\n```text\ny\n```\n";
        let block =
            |line, script: &str, output: &str| Block { line, script: script.to_owned(), output: output.to_owned() };
        assert_eq!(blocks(document, "sh"), [block(2, "a", "x…")]);
        assert_eq!(blocks(document, "sh cluster"), [block(10, "b", "")]);
    }

    #[test]
    fn pieces_are_looked_for_in_their_order() {
        assert!(printed("a…b\nc", "1 a 2 b 3 c"));
        assert!(!printed("b…a", "a b"));
    }
}
