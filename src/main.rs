//! The weakseg program; see the library for what it does.

#[global_allocator]
static ALLOCATOR: weakseg::bench::memory::Counting = weakseg::bench::memory::Counting;

fn main() -> std::process::ExitCode {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Mesa's drivers print an error per adapter without it, though nothing here opens a window.
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
    weakseg::bench::memory::keep_freed();
    weakseg::cli::main()
}
