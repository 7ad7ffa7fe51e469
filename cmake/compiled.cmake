# Component vierbein::compiled: the instances of include/vierbein/compiled, compiled once for a
# program and not in each of its translation units.
#
# It has a source and no library file: every target that links it compiles that source itself, with
# its own flags. A file compiled beforehand would have been for some processor, and the products'
# kernels take the width of registers from the flags: a program compiled for another processor would
# mix functions of both. (instances.hpp makes sure that such a mixture, which is possible by hand,
# does not link.)
#
# Several programs share one by a library of their own:
#     add_library(training STATIC)
#     target_link_libraries(training PUBLIC vierbein::vierbein PRIVATE vierbein::compiled)
#     target_compile_definitions(training PUBLIC VIERBEIN_COMPILED)
vierbein_add_component(compiled)
target_compile_definitions(vierbein_compiled INTERFACE VIERBEIN_COMPILED)
set(source vierbein/compiled/library.cpp)
target_sources(vierbein_compiled INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include/${source}>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/${source}>)
