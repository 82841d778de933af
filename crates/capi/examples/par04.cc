// Draws samples as Geant4's example Par04 would, one at a time on several threads, for the noise in a file.
//
//     c++ -std=c++17 par04.cc -lbelamy_c -pthread -o par04 && ./par04 RUN noise.f32 samples.f32
#include "par04_belamy.hh"
#include <fstream>
#include <iterator>
#include <thread>

int main(int count, char** words)
{
    if (count != 4) return 2;
    Par04BelamyInference engine(words[1]);
    std::ifstream file(words[2], std::ios::binary);
    const std::vector<char> bytes((std::istreambuf_iterator<char>(file)), {});
    const float* noise = reinterpret_cast<const float*>(bytes.data());
    belamy_generator* sizes = nullptr;
    if (belamy_generator_open(words[1], nullptr, &sizes) != BELAMY_STATUS_OK) return 1;
    const std::size_t latent = belamy_generator_latent(sizes), cells = belamy_generator_elements(sizes);
    belamy_generator_free(sizes);
    const std::size_t samples = bytes.size() / sizeof(float) / latent;
    std::vector<std::vector<G4double>> showers(samples);
    std::vector<std::thread> workers;
    for (std::size_t worker = 0; worker < 4; worker++)
        workers.emplace_back([&, worker] {
            for (std::size_t sample = worker; sample < samples; sample += 4)
                engine.RunInference({noise + sample * latent, noise + (sample + 1) * latent}, showers[sample], int(cells));
        });
    for (auto& worker : workers) worker.join();
    std::ofstream out(words[3], std::ios::binary);
    for (const auto& shower : showers)
        for (const G4double energy : shower) {
            const float number = float(energy);
            out.write(reinterpret_cast<const char*>(&number), sizeof number);
        }
    return out.good() ? 0 : 1;
}
