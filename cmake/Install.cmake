# SPDX-License-Identifier: Apache-2.0
# `cmake --install BUILD --prefix PREFIX`: what a machine needs that runs Ziyu.
#   bin/ziyu, bin/ziyu-worker     the programs
#   lib/ziyu/                     libtorch and librdkafka, if scripts/deps laid them out;
#                                 an installation of your own stays where it is
#   share/doc/ziyu/               the licence, and what Ziyu is linked with
#   share/ziyu/                   configurations, schemas, the model, test images
# The tree may be moved: the programs find the rest relative to themselves. What else they
# are linked with comes from the system (scripts/runtime-packages names Debian's packages).
include(GNUInstallDirs)

set(rpath "")
set(own "${PROJECT_SOURCE_DIR}/.deps/")
foreach(library IN ITEMS "${Libtorch_CPU_LIBRARY}" "${Rdkafka_LIBRARY}")
  get_filename_component(folder "${library}" DIRECTORY)
  string(FIND "${folder}/" "${own}" at)
  if(at EQUAL 0)
    install(DIRECTORY "${folder}/" DESTINATION "${CMAKE_INSTALL_LIBDIR}/ziyu"
      FILES_MATCHING PATTERN "*.so*" PATTERN pkgconfig EXCLUDE)
    file(RELATIVE_PATH up "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}/ziyu")
    list(APPEND rpath "$ORIGIN/${up}")
  elseif(NOT folder IN_LIST CMAKE_CXX_IMPLICIT_LINK_DIRECTORIES)
    list(APPEND rpath "${folder}")
  endif()
endforeach()
list(REMOVE_DUPLICATES rpath)
set_target_properties(ziyu ziyu_worker PROPERTIES INSTALL_RPATH "${rpath}")
install(TARGETS ziyu ziyu_worker RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")

set(share "${CMAKE_INSTALL_DATADIR}/ziyu")
install(FILES LICENSE NOTICE DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/ziyu")
install(DIRECTORY configs DESTINATION "${share}" FILES_MATCHING PATTERN "*.json")
install(DIRECTORY models DESTINATION "${share}")
install(FILES compose/ziyu.json DESTINATION "${share}/compose")
install(DIRECTORY tests/data/digits DESTINATION "${share}/images")
