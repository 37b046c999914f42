{
  "targets": [
    {
      "target_name": "weft",
      "sources": [
        "<!@(find native/src -name '*.cc' ! -name '*_test.cc')",
        "<!@(find build/proto -name '*.pb.cc')"
      ],
      "include_dirs": [
        "<!(node -p \"require('node-addon-api').include_dir\")",
        "native/src",
        "bpf/include",
        "build/bpf",
        "build/proto"
      ],
      # NAPI_DISABLE_CPP_EXCEPTIONS: errors are values (docs/adr); a failing call returns data and binding/ throws.
      # NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS: a Worker that is terminated within a call must not take the process along.
      "defines": [ "NAPI_DISABLE_CPP_EXCEPTIONS", "NAPI_VERSION=9", "NODE_ADDON_API_REQUIRE_BASIC_FINALIZERS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS" ],
      "cflags": [ "-Wall", "-Wextra", "-Werror", "-fvisibility=hidden", "-O2", "-fstack-protector-strong", "-D_FORTIFY_SOURCE=2" ],
      # -Wno-restrict: GCC 12 warns wrongly about "literal" + std::string (its bug 105651).
      "cflags_cc": [ "-Wno-restrict", "-std=gnu++20", "-fno-exceptions", "-fno-rtti" ],
      "libraries": [ "-lbpf", "-lelf", "-lz", "-lre2", "-lprotobuf-lite" ],
      "ldflags": [ "-Wl,-z,relro,-z,now" ]
    }
  ]
}
