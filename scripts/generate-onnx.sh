#!/usr/bin/env bash
# Regenerates lib/formats/onnx/onnx_pb.ts from lib/formats/onnx/onnx.proto. Run it after editing the
# .proto; the result is committed, so neither a build nor an installation needs the generator.
# protoc-gen-es asks for Node 22 in its `engines`; it runs on 20 with a warning.
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cp "$here/lib/formats/onnx/onnx.proto" "$work/"
cd "$work"
printf 'version: v2\n' >buf.yaml
printf 'version: v2\nplugins:\n  - local: protoc-gen-es\n    out: gen\n    opt: target=ts,import_extension=js\n' >buf.gen.yaml
npx --yes -p @bufbuild/buf@1.75.0 -p @bufbuild/protoc-gen-es@2.17.0 -p @bufbuild/protobuf@2.17.0 \
  buf generate
cp gen/onnx_pb.ts "$here/lib/formats/onnx/onnx_pb.ts"
