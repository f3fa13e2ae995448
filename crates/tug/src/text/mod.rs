//! What people and scripts read: units, tables, templates, JSON, exactly as Docker prints them. Pure.

mod build;
pub(crate) mod human;
pub(crate) mod json;
pub(crate) mod listing;
pub(crate) mod table;
pub(crate) mod template;
