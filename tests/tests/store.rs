//! `wsp store`: honest stores pass, dishonest ones are found out, and tables that were changed are named.

mod check;
mod dishonest;
mod verify;
