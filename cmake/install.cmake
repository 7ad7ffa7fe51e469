# Install rules: headers, and a CMake package with the components io, chem, cuda and compiled where
# they are built.
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/vierbein")
install(DIRECTORY include/vierbein TYPE INCLUDE)
install(TARGETS vierbein EXPORT vierbein)
install(EXPORT vierbein NAMESPACE vierbein:: DESTINATION ${package_dir} FILE vierbeinTargets.cmake)
foreach(component IN ITEMS io chem cuda compiled)
  if(TARGET vierbein_${component})
    install(TARGETS vierbein_${component} EXPORT vierbein_${component})
    install(EXPORT vierbein_${component} NAMESPACE vierbein:: DESTINATION ${package_dir}
            FILE vierbein-${component}.cmake)
  endif()
endforeach()

configure_package_config_file(cmake/vierbeinConfig.cmake.in vierbeinConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(vierbeinConfigVersion.cmake COMPATIBILITY SameMinorVersion
                                 ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/vierbeinConfig.cmake"
              "${PROJECT_BINARY_DIR}/vierbeinConfigVersion.cmake"
              cmake/FindCsv.cmake cmake/FindRDKit.cmake
        DESTINATION ${package_dir})
