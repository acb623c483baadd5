{
  # `ground setup` copies these sources into a build folder and puts beside them, as links, what they need: deps/napi,
  # deps/include (holds tensorflow/c/c_api.h) and the libraries in deps/lib, named by -Dtf_libraries. -Dfused=1 adds the
  # fused ops, which need the C++ headers of the very same version of libtensorflow.
  'variables': {'fused%': 0},
  'target_defaults': {
    'include_dirs': ['deps/napi'],
    'defines': ['NAPI_VERSION=8', 'NAPI_CPP_EXCEPTIONS', 'NODE_ADDON_API_DISABLE_DEPRECATED'],
    'cflags': ['-Wall', '-Wextra', '-O2'],
    'cflags_cc!': ['-fno-exceptions', '-fno-rtti', '-std=gnu++14', '-std=gnu++17', '-std=gnu++20'],
    'cflags_cc': ['-std=c++17', '-fvisibility=hidden'],
    'xcode_settings': {
      'GCC_ENABLE_CPP_EXCEPTIONS': 'YES',
      'GCC_ENABLE_CPP_RTTI': 'YES',
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
        ['fused==1', {
          'sources': ['ops.cc'],
          'defines': ['GROUND_FUSED', 'EIGEN_MAX_ALIGN_BYTES=64'],
          # TensorFlow's headers warn by the hundred.
          'cflags': ['-isystem', 'deps/include'],
          'dependencies': ['ground_simd_base'],
          'conditions': [
            ['target_arch=="x64"', {'dependencies': ['ground_simd_avx2', 'ground_simd_avx512']}],
          ],
        }],
      ],
    },
  ],
  'conditions': [
    ['fused==1', {
      # The same loops for each instruction set; which are run is decided on the machine that runs them.
      'target_defaults': {'cflags!': ['-O2']},
      'targets': [
        {'target_name': 'ground_simd_base', 'type': 'static_library', 'sources': ['simd_base.cc'], 'cflags': ['-O3']},
        {
          'target_name': 'ground_simd_avx2',
          'type': 'static_library',
          'sources': ['simd_avx2.cc'],
          'cflags': ['-O3', '-mavx2', '-mfma', '-Wno-psabi'],
          'xcode_settings': {'OTHER_CFLAGS': ['-O3', '-mavx2', '-mfma']},
        },
        {
          'target_name': 'ground_simd_avx512',
          'type': 'static_library',
          'sources': ['simd_avx512.cc'],
          # GCC 12 warns of its own header's undefined vectors.
          'cflags': ['-O3', '-mavx512f', '-mavx512dq', '-mfma', '-Wno-psabi', '-Wno-uninitialized', '-Wno-maybe-uninitialized'],
          'xcode_settings': {'OTHER_CFLAGS': ['-O3', '-mavx512f', '-mavx512dq', '-mfma']},
        },
      ],
    }],
  ],
}
