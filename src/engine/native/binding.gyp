{
  # `ground setup` copies these sources into a build folder and puts beside them, as links, what they need: deps/napi,
  # deps/include (holds tensorflow/c/c_api.h) and the libraries in deps/lib, named by -Dtf_libraries.
  'target_defaults': {
    'include_dirs': ['deps/napi'],
    'defines': ['NAPI_VERSION=8', 'NAPI_CPP_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED'],
    'cflags': ['-Wall', '-Wextra', '-O2'],
    'cflags_cc!': ['-fno-exceptions', '-std=gnu++14', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': ['-std=c++17', '-fvisibility=hidden'],
    'xcode_settings': {
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'CLANG_CXX_LANGUAGE_STANDARD': 'c++17',
      'GCC_SYMBOLS_PRIVATE_EXTERN': 'YES',
    },
  },
  'targets': [
    {
      'target_name': 'ground_loader',
      'sources': ['loader.cc'],
      'libraries': ['-ldl'],
    },
    {
      'target_name': 'ground_engine',
      'sources': ['addon.cc', 'attributes.cc', 'execute.cc', 'functions.cc', 'session.cc', 'tensors.cc'],
      'include_dirs': ['deps/include'],
      'libraries': ['<@(tf_libraries)'],
      # The installed addon finds its libraries through a link named lib in its own folder.
      'conditions': [
        ['OS=="mac"', {
          'libraries': ['-Wl,-rpath,@loader_path/lib'],
        }, {
          'libraries': ["-Wl,-rpath,'$$ORIGIN/lib'"],
        }],
      ],
    },
  ],
}
