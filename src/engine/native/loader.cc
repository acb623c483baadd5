// Loads libtensorflow before the addon that is linked with it, without the lines that it writes to stderr while it is
// loaded: those come before any logging option is read. An addon of its own, since the other cannot run any code before
// its libraries are there.
#include <dlfcn.h>
#include <fcntl.h>
#include <napi.h>
#include <unistd.h>

#include <cstdio>
#include <string>

namespace {

// Sends stderr to nowhere for its lifetime.
class SilentStderr {
 public:
  SilentStderr() : saved_(dup(STDERR_FILENO)) {
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (saved_ < 0 || nowhere < 0) return;
    std::fflush(stderr);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
  }
  ~SilentStderr() {
    if (saved_ < 0) return;
    std::fflush(stderr);
    dup2(saved_, STDERR_FILENO);
    close(saved_);
  }
  SilentStderr(const SilentStderr&) = delete;
  SilentStderr& operator=(const SilentStderr&) = delete;

 private:
  int saved_;
};

// load(file): throws the dynamic linker's message where it fails. The library stays loaded.
void Load(const Napi::CallbackInfo& info) {
  const std::string file = info[0].ToString().Utf8Value();
  void* library = nullptr;
  {
    const SilentStderr silent;
    library = dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL);
  }
  if (library == nullptr) throw Napi::Error::New(info.Env(), dlerror());
}

Napi::Object Init(Napi::Env env, Napi::Object exports) {
  exports.Set("load", Napi::Function::New(env, Load));
  return exports;
}

}  // namespace

NODE_API_MODULE(ground_loader, Init)
