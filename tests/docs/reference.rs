//! `docs/cli.md` is what `--help` says.

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use mirrord::cli::Cli;

use super::assert_is_printed;

const HEAD: &str = "\
# Command line

The help texts of every command, as `--help` prints them. A test keeps this page equal to the program
(`MIRRORD_UPDATE_DOCS=1 cargo test --test docs` rewrites it).

Flags are stronger than environment variables, which are stronger than the configuration file
([configuration.md](configuration.md)). Exit codes and `-o json`: [output.md](output.md).
";

fn describe(command: &mut Command, page: &mut String) {
    let help = command.render_long_help().to_string();
    let lines = help.trim_end().lines().map(str::trim_end);
    writeln!(page, "\n## `{}`\n\n```", command.get_bin_name().unwrap_or("mirrord")).unwrap();
    lines.for_each(|line| writeln!(page, "{line}").unwrap());
    page.push_str("```\n");
    for below in command.get_subcommands_mut() {
        if !below.is_hide_set() && below.get_name() != "help" {
            describe(below, page);
        }
    }
}

#[test]
fn the_command_line_page_is_what_help_says() {
    let mut command = Cli::command().term_width(100);
    command.build();
    let mut page = HEAD.to_owned();
    describe(&mut command, &mut page);
    assert_is_printed("docs/cli.md", &page);
}
