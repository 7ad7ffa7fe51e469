// A consumer: uses a little of the library; other.cpp includes the same headers.
#include <vierbein/vierbein.hpp>

vierbein::index_t count_in_other_file();

int main() {
  vierbein::parameters<double> theta;
  theta.add("weight", 3, 4, vierbein::initialiser::glorot);
  theta.initialise(1);
  return theta.count() == count_in_other_file() ? 0 : 1;
}
