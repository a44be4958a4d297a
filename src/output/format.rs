//! The formats that `-o` names.
#![expect(missing_docs, reason = "clap would print the words of a variant's documentation as its help")]

use clap::ValueEnum;

/// How objects are printed
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ObjectFormat {
    Yaml,
    Json,
    Name,
}

/// How a list is printed
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}
