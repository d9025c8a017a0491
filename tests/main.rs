//! All integration tests, one binary.

// `cfg(test)` holds here anyway; said, it lets Clippy see the helpers as test code too.
#[cfg(test)]
mod cli;
#[cfg(test)]
mod e2e;
#[cfg(test)]
mod kms_sim;
#[cfg(test)]
mod layers;
#[cfg(test)]
mod property;
