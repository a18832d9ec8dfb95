//! The weakseg program; see the library for what it does.

// Beside the extension module's allocator there can be no other.
#[cfg(not(feature = "python"))]
#[global_allocator]
static ALLOCATOR: weakseg::bench::memory::Counting = weakseg::bench::memory::Counting;

fn main() -> std::process::ExitCode {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Mesa's drivers print an error per adapter without it, though nothing here opens a window.
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
    weakseg::bench::memory::begin_program();
    weakseg::cli::main()
}
