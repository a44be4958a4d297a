//! The manual page, made from the same clap types as the help: one page for the
//! program and all its verbs.

use std::io::{self, Write as _};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;

use super::Cli;

/// The page as roff.
pub fn page() -> io::Result<Vec<u8>> {
    let mut program = Cli::command();
    // Fills in global arguments and the full name of each verb.
    program.build();
    let mut page = Vec::new();
    let whole = Man::new(program.clone());
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    let preview = program.find_subcommand("preview").cloned().unwrap_or_default();
    Man::new(preview.clone()).render_description_section(&mut page)?;
    for verb in preview.get_subcommands().filter(|verb| verb.get_name() != "help") {
        section(verb, &mut page)?;
    }
    whole.render_version_section(&mut page)?;
    Ok(page)
}

/// A verb's part: its own headings below one with its name.
fn section(verb: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let name = verb.get_bin_name().unwrap_or_else(|| verb.get_name());
    writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
    let man = Man::new(verb.clone());
    let mut part = Vec::new();
    man.render_synopsis_section(&mut part)?;
    man.render_description_section(&mut part)?;
    man.render_options_section(&mut part)?;
    page.extend(String::from_utf8_lossy(&part).replace(".SH ", ".SS ").into_bytes());
    Ok(())
}
