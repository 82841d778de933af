#!/usr/bin/env bash
# Builds the library and installs it with its header and the files that pkg-config and CMake look for:
#
#     crates/capi/install.sh PREFIX [cargo's flags, such as --no-default-features]
set -euo pipefail
prefix=${1:?install.sh PREFIX}
shift
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
cd "$(dirname "$0")"
cargo build --release --quiet -p belamy-capi "$@"
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
version=$(sed -n 's/^version = "\(.*\)"/\1/p' ../../Cargo.toml | head -n 1)
mkdir -p "$prefix/include" "$prefix/lib/pkgconfig" "$prefix/lib/cmake/belamy"
install -m 644 include/belamy.h "$prefix/include/"
for library in libbelamy_c.so libbelamy_c.dylib libbelamy_c.a; do
  if [ -f "$target/release/$library" ]; then install -m 755 "$target/release/$library" "$prefix/lib/"; fi
done
cat > "$prefix/lib/pkgconfig/belamy.pc" <<END
prefix=$prefix
Name: belamy
Description: Trained generative adversarial networks from C
Version: $version
Cflags: -I\${prefix}/include
Libs: -L\${prefix}/lib -lbelamy_c
Libs.private: -lpthread -ldl -lm
END
cat > "$prefix/lib/cmake/belamy/belamyConfig.cmake" <<'END'
get_filename_component(belamy_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
find_library(belamy_library belamy_c PATHS "${belamy_prefix}/lib" NO_DEFAULT_PATH REQUIRED)
if(NOT TARGET belamy::belamy)
  add_library(belamy::belamy UNKNOWN IMPORTED)
  set_target_properties(belamy::belamy PROPERTIES
    IMPORTED_LOCATION "${belamy_library}"
    INTERFACE_INCLUDE_DIRECTORIES "${belamy_prefix}/include")
endif()
END
cat > "$prefix/lib/cmake/belamy/belamyConfigVersion.cmake" <<END
set(PACKAGE_VERSION $version)
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION)
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
endif()
END
echo "belamy $version is in $prefix"
