//! The weakseg program; see the library for what it does.

#[global_allocator]
static ALLOCATOR: weakseg::bench::memory::Counting = weakseg::bench::memory::Counting;

fn main() -> std::process::ExitCode {
    weakseg::cli::main()
}
