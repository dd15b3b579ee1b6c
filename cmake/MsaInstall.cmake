# cmake --install, and find_package(msa) for C++ users.
