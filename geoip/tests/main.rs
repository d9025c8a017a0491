//! Tests of the crate as others use it.

// `cfg(test)` holds here anyway; said, it lets Clippy see the helpers as test code too.
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod laws;
#[cfg(test)]
mod layouts;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod watched;
#[cfg(test)]
mod world;
#[cfg(test)]
mod writer;
