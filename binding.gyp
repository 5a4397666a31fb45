# For those who only have node-gyp: the CPU addon from the source list that CMakeLists.txt reads, with the system's
# OpenBLAS. `npm ci` never runs this ("gypfile": false in package.json); scripts/test-gyp.sh does, in CI.
{
  "targets": [
    {
      "target_name": "osculate",
      "sources": ["<!@(node -p \"const s = require('./sources.json'); [...s.native, ...s.binding].join(' ')\")"],
      "include_dirs": ["native", "node_modules/node-addon-api"],
      "defines": [
        "NAPI_VERSION=8",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
        "NAPI_CPP_EXCEPTIONS",
        "OSC_VERSION=\"<!(node -p \"require('./package.json').version\")\""
      ],
      "libraries": ["-lopenblas", "-ldl", "-lpthread"],
      "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
      "cflags_cc": ["-std=c++20", "-O3", "-fexceptions", "-fvisibility=hidden", "-ffp-contract=off",
                    "-fno-math-errno", "-fno-trapping-math", "-Wno-psabi"],
      "ldflags": ["-Wl,-z,nodelete", "-Wl,-z,now"]
    }
  ]
}
