pub(crate) fn compose(_: &crate::bench::Bench, _: &crate::args::Args, _: &str) -> anyhow::Result<String> { Ok(String::new()) }
